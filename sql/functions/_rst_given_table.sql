-- name: _rst_given_table
-- kind: scalar macro
-- grain: one value
-- reads: the names of tables and views
-- The argument of query_table for a table that a caller names. A query, which query_table does not take, and a file that is not there are errors.
CREATE OR REPLACE MACRO _rst_given_table(what, relation) AS
    CASE
        WHEN regexp_matches(relation::VARCHAR, '(?i)^\s*(FROM|SELECT|WITH|VALUES|TABLE|PIVOT|UNPIVOT)[\s(''"]|^\s*\(\s*(FROM|SELECT|WITH)\s')
            AND NOT regexp_full_match(relation::VARCHAR, '(?i)[^"'']*\.(parquet|parq)')
            THEN error(what || ': got the query ''' || relation::VARCHAR || ''', expected the name of a table, a view or a file; make a view of it: CREATE VIEW my_'
                || what || ' AS ' || relation::VARCHAR)
        WHEN _rst_no_such_file(what, relation) IS NOT NULL THEN error(_rst_no_such_file(what, relation))
        ELSE relation
    END;
