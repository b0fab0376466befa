-- name: _rst_may_read_tables
-- kind: scalar macro
-- grain: one value
-- reads: the names of tables and of temporary views, and the text of the other views
-- Whether a relation, or any view that is not temporary, has the name of a table or of a temporary view in its text.
CREATE OR REPLACE MACRO _rst_may_read_tables(relation) AS (
    SELECT count(*) > 0
    FROM (
        SELECT t.table_name AS name FROM duckdb_tables() AS t WHERE NOT t.internal
        UNION ALL
        SELECT v.view_name FROM duckdb_views() AS v WHERE v.temporary AND NOT v.internal
    ) AS known
    -- As a whole word: a read sees no temporary names, and a part of another word would not tell the two apart. Texts of
    -- temporary views are left out: a relation reaches these by their names.
    WHERE regexp_matches(
        lower(relation) || ' ' || (SELECT coalesce(string_agg(lower(v."sql"), ' '), '') FROM duckdb_views() AS v WHERE NOT v.internal AND NOT v.temporary),
        '(^|\W)' || regexp_escape(replace(lower(known.name), '"', '""')) || '(\W|$)'
    )
);
