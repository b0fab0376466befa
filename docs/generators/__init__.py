"""What `docs/generate.py` makes the reference pages with, one module per page."""
