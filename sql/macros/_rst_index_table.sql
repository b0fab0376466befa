-- name: _rst_index_table
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- What query_table takes of an index: a path is quoted, for its dots, and one that ends with a slash is a folder's files.
CREATE OR REPLACE MACRO _rst_index_table(index) AS (
    CASE
        WHEN contains(index::VARCHAR, '"') THEN index::VARCHAR
        WHEN suffix(index::VARCHAR, '/') THEN '"' || index::VARCHAR || '**/*.parquet"'
        WHEN regexp_matches(index::VARCHAR, '(?i)\.(parquet|parq|geoparquet)\b|://|[/\\*?]') THEN '"' || index::VARCHAR || '"'
        ELSE index::VARCHAR
    END
);
