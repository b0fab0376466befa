"""Index rows to tiles to byte ranges. Pure."""
