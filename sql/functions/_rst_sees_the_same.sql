-- name: _rst_sees_the_same
-- kind: scalar macro
-- grain: one value
-- reads: the rows of the index, where a session may see others than a read
-- True; an error where the running statement sees other rows of an index than a read, which runs beside it: those of a CTE, of a temporary table, or of a transaction.
CREATE OR REPLACE MACRO _rst_sees_the_same(index, what := 'index') AS (
    SELECT
        CASE
            WHEN count(*) = 0 THEN true
            WHEN _rst_no_such_file(what, index) IS NOT NULL THEN error(_rst_no_such_file(what, index))
            ELSE error(what || ': got ' || _rst_kind_of(trim(index::VARCHAR, '"')) || '''' || index::VARCHAR || ''', expected rows that a read can see. A read runs '
                || 'on a separate connection, and cannot see CTEs, temporary tables or uncommitted rows; give a table, a view, '
                || CASE
                    -- In Python, too, statistics are a file or a query.
                    WHEN what = 'statistics' THEN 'a Parquet path or the text of a query, of a name that nothing hides. '
                    ELSE CASE what WHEN 'index' THEN 'a Parquet path or the text of a query' ELSE 'or a Parquet path' END
                        || ', of a name that nothing hides, or pass the rows from Python: rasteret_sql.'
                        || CASE what WHEN 'points' THEN 'sample_points' || '(index, con.sql(...)). ' WHEN 'zones' THEN 'zonal_stats' || '(index, con.sql(...)). ' ELSE 'read_tiles' || '(con.sql(...)). ' END
                END
                || 'Make a table of a registered DataFrame, under another name: CREATE TABLE my_table AS FROM ...')
        END
    FROM query(
        -- Nothing hides a file, and most indexes are files.
        CASE
            WHEN index IS NULL OR regexp_matches(index::VARCHAR, '(?i)\.(parquet|parq|geoparquet)\b|://|[/\\*?]')
                AND NOT regexp_matches(index::VARCHAR, '[" ]')
                THEN 'SELECT 1 WHERE false'
            ELSE 'FROM query(_rst_comparison(''' || replace(index::VARCHAR, '''', '''''') || '''))'
        END
    )
);
