"""Plugins for other tools, one file each."""
