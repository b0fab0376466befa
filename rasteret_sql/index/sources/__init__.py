"""Sources of assets: STAC documents, files, tables. Each knows nothing of headers."""
