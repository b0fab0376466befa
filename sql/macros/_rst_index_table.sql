-- name: _rst_index_table
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The argument of query_table for an index. A path is quoted because of its dots, and a path with a trailing slash becomes a glob.
CREATE OR REPLACE MACRO _rst_index_table(index) AS (
    CASE
        WHEN suffix(index::VARCHAR, '/') THEN '"' || replace(index::VARCHAR, '"', '""') || '**/*.parquet"'
        WHEN contains(index::VARCHAR, '"') THEN index::VARCHAR
        WHEN regexp_matches(index::VARCHAR, '(?i)\.(parquet|parq|geoparquet)\b|://|[/\\*?]') THEN '"' || index::VARCHAR || '"'
        ELSE index::VARCHAR
    END
);
