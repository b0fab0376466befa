-- name: _rst_stac_search_file
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The function in Python behind stac_search: runs it, and gives the path of a Parquet file with what it found.
CREATE OR REPLACE MACRO _rst_stac_search_file(arguments) AS _rstpy_stac_search(arguments::VARCHAR);
