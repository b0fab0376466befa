"""Indexes: sources of assets, their TIFF headers, and the one SELECT that makes rows of both."""
