"""STAC: items, locations of their assets, and searches. Sources are built on it."""
