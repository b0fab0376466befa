"""Values and pixels to the bytes of a TIFF."""
