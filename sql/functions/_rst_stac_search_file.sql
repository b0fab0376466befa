-- name: _rst_stac_search_file
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The Python function behind stac_search. It runs the search, and returns the path of a Parquet file with the found assets.
CREATE OR REPLACE MACRO _rst_stac_search_file(arguments) AS _rstpy_stac_search(arguments::VARCHAR);
