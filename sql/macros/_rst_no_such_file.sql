-- name: _rst_no_such_file
-- kind: scalar macro
-- grain: one value
-- reads: the names of tables and views
-- The message for a name that has the suffix of a file, such as s2.parquett, and is neither a table nor a file; NULL for all others.
CREATE OR REPLACE MACRO _rst_no_such_file(what, relation) AS
    CASE
        WHEN regexp_full_match(relation::VARCHAR, '[^"''\s]*\.[A-Za-z]\w*')
            -- DuckDB says of a Parquet path itself that there is no such file.
            AND NOT regexp_matches(relation::VARCHAR, '(?i)\.(parquet|parq|geoparquet)\b|://|[/\\*?]')
            AND regexp_matches(
                json_serialize_plan(('FROM query_table(''' || relation::VARCHAR || ''')')::VARCHAR)::VARCHAR,
                'because schema|Catalog \\"|No files found|"error_type":"io"'
            )
            THEN what || ': ''' || relation::VARCHAR || ''': no such file, and no table or view of this name; expected a table, a view or a Parquet path. Check how the suffix is spelled'
    END;
