-- name: _rst_index_table
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The argument of query_table for an index. A path is quoted because of its dots, and a path with a trailing slash becomes a glob.
CREATE OR REPLACE MACRO _rst_index_table(index, what := 'index') AS (
    CASE
        WHEN _rst_no_such_file(what, index) IS NOT NULL THEN error(_rst_no_such_file(what, index))
        WHEN suffix(index::VARCHAR, '/') THEN '"' || replace(index::VARCHAR, '"', '""') || '**/*.parquet"'
        WHEN contains(index::VARCHAR, '"') THEN index::VARCHAR
        WHEN regexp_matches(index::VARCHAR, '(?i)\.(parquet|parq|geoparquet)\b|://|[/\\*?]') THEN '"' || index::VARCHAR || '"'
        ELSE index::VARCHAR
    END
);
