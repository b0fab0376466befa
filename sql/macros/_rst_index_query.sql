-- name: _rst_index_query
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The argument of query for an index. Assets without headers become rows of an index by read_headers, in the statement that names them.
CREATE OR REPLACE MACRO _rst_index_query(index) AS coalesce(
    'FROM rasteret_sql.main.read_headers(''' || replace(_rst_assets_of(index), '''', '''''') || ''')',
    'FROM query_table(''' || replace(_rst_index_table(index), '''', '''''') || ''')'
);
