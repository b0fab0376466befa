-- name: _rst_stac_items_file
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The function in Python behind stac_items: reads the documents, and gives the path of a Parquet file with their assets.
CREATE OR REPLACE MACRO _rst_stac_items_file(arguments) AS _rstpy_stac_items(arguments::VARCHAR);
