-- name: _rst_compared
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The text of what is added to a query to compare a table in a session with the table that a read sees: nothing for NULL and for files, since nothing hides a file, and most indexes are files.
CREATE OR REPLACE MACRO _rst_compared(what, relation) AS
    CASE
        WHEN relation IS NULL OR regexp_matches(relation::VARCHAR, '(?i)\.(parquet|parq|geoparquet)\b|://|[/\\*?]')
            AND NOT regexp_matches(relation::VARCHAR, '[" ]')
            THEN ''
        ELSE ' UNION ALL FROM query(_rst_comparison(''' || what || ''', ''' || replace(relation::VARCHAR, '''', '''''') || '''))'
    END;
