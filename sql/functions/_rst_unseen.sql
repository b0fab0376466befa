-- name: _rst_unseen
-- kind: scalar macro
-- grain: one value
-- reads: the names of temporary tables and views, and the running statement
-- The message for a table whose rows a read does not see.
CREATE OR REPLACE MACRO _rst_unseen(what, relation) AS
    coalesce(
        _rst_no_such_file(what, relation),
        what || ': got ' || _rst_kind_of(trim(relation, '"')) || '''' || relation || ''', expected rows that a read can see. A read runs '
        || 'on a separate connection, and cannot see CTEs, temporary tables or uncommitted rows; give a table, a view, '
        || CASE
            -- In Python, too, statistics are a file or a query.
            WHEN what = 'statistics' THEN 'a Parquet path or the text of a query, of a name that nothing hides. '
            ELSE CASE what WHEN 'index' THEN 'a Parquet path or the text of a query' ELSE 'or a Parquet path' END
                || ', of a name that nothing hides, or pass the rows from Python: rasteret_sql.'
                || CASE what WHEN 'points' THEN 'sample_points' || '(index, con.sql(...)). ' WHEN 'zones' THEN 'zonal_stats' || '(index, con.sql(...)). ' ELSE 'read_tiles' || '(con.sql(...)). ' END
        END
        || 'Make a table of a registered DataFrame, under another name: CREATE TABLE my_table AS FROM ...'
    );
