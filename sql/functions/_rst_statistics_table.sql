-- name: _rst_statistics_table
-- kind: scalar macro
-- grain: one value
-- reads: the names of the columns of a table
-- The argument of query_table for statistics of tiles. A table with other columns, such as an index, is an error.
CREATE OR REPLACE MACRO _rst_statistics_table(statistics) AS
    CASE
        WHEN contains(_rst_statistics_plan(statistics), 'COLUMN_NOT_FOUND') THEN
            error('statistics: ''' || statistics::VARCHAR || ''' is not a file of statistics: it has no column '
                || coalesce(json_extract_string(_rst_statistics_plan(statistics), '$.name'), 'of some names')
                || '; build one with rasteret_sql.build_stats or `rasteret-sql stats`')
        ELSE _rst_given_table('statistics', statistics)
    END;
