-- name: _rst_may_read_tables
-- kind: scalar macro
-- grain: one value
-- reads: the names of tables and of temporary views, and the text of all views
-- Whether a relation, or any view, has the name of a table or of a temporary view in its text.
CREATE OR REPLACE MACRO _rst_may_read_tables(relation) AS (
    SELECT count(*) > 0
    FROM (
        SELECT t.table_name AS name FROM duckdb_tables() AS t WHERE NOT t.internal
        UNION ALL
        SELECT v.view_name FROM duckdb_views() AS v WHERE v.temporary AND NOT v.internal
    ) AS known
    WHERE contains(
        relation || ' ' || (SELECT coalesce(string_agg(lower(v."sql"), ' '), '') FROM duckdb_views() AS v WHERE NOT v.internal),
        replace(lower(known.name), '"', '""')
    )
);
