"""Bytes to header, tile bytes to array: pure code, without I/O."""
