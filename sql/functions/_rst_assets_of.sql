-- name: _rst_assets_of
-- kind: scalar macro
-- grain: one value
-- reads: the columns of a table or a Parquet file, and STAC documents
-- The name under which query_table finds assets without headers; NULL for an index. Python does not see temporary tables; the session does not see into views of files.
CREATE OR REPLACE MACRO _rst_assets_of(index) AS coalesce(
    nullif(_rstpy_assets_of(index::VARCHAR, to_json(_rst_settings())::VARCHAR), ''),
    CASE WHEN _rst_has_no_headers(index) THEN index::VARCHAR END
);
