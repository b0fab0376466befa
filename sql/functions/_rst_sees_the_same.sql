-- name: _rst_sees_the_same
-- kind: scalar macro
-- grain: one value
-- reads: the names of temporary tables, of views and of the CTEs of the running statement
-- True; an error where an index uses the name of a temporary table, temporary view or CTE, in whose place a read would find another table.
CREATE OR REPLACE MACRO _rst_sees_the_same(index, what := 'index') AS (
    SELECT
        CASE
            WHEN count(*) = 0 THEN true
            ELSE error(what || ': got ' || min(hidden.kind || ' ''' || hidden.name || '''') || ', expected rows that a read can see. A read runs '
                || 'beside the query that it is part of, so it sees no CTE, temporary table or uncommitted row; give a table, a view, '
                || 'a Parquet path or the text of a query, of a name that nothing hides, or pass the rows from Python: '
                || 'rasteret_sql.' || CASE what WHEN 'points' THEN 'sample_points' WHEN 'zones' THEN 'zonal_stats' ELSE 'read_tiles' END || '(con.sql(...))')
        END
    FROM (
        SELECT 'the temporary table' AS kind, t.table_name AS name FROM duckdb_tables() AS t WHERE t.temporary
        UNION ALL
        SELECT 'the temporary view', v.view_name FROM duckdb_views() AS v WHERE v.temporary AND NOT v.internal
        UNION ALL
        -- CTEs of the statement around the call; those in the text of the index are its own.
        SELECT 'the CTE', unnest(regexp_extract_all(
            CASE
                WHEN contains(index::VARCHAR, ' ')
                    THEN replace(replace(current_query(), index::VARCHAR, ''), replace(index::VARCHAR, '''', ''''''), '')
                ELSE current_query()
            END,
            '(?i)(?:\bWITH\s+(?:RECURSIVE\s+)?|,\s*)"?(\w+)"?\s*(?:\([^()]*\)\s*)?AS\s*(?:(?:NOT\s+)?MATERIALIZED\s*)?\(',
            1
        ))
    ) AS hidden
    WHERE _rst_uses_name(index, hidden.name)
        -- Names in a view are looked up in the session that uses it.
        OR hidden.kind != 'the CTE' AND EXISTS (
            FROM duckdb_views() AS v
            WHERE NOT v.temporary AND NOT v.internal AND _rst_uses_name(index, v.view_name) AND contains(
                ' ' || regexp_replace(lower(v."sql"), '[^\w]+', ' ', 'g') || ' ',
                ' ' || regexp_replace(lower(hidden.name), '[^\w]+', ' ', 'g') || ' '
            )
        )
);
