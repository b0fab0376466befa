-- name: _rst_stac_items_file
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The Python function behind stac_items. It reads the documents, and returns the path of a Parquet file with their assets.
CREATE OR REPLACE MACRO _rst_stac_items_file(arguments) AS _rstpy_stac_items(arguments::VARCHAR);
