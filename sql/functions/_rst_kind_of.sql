-- name: _rst_kind_of
-- kind: scalar macro
-- grain: one value
-- reads: the names of temporary tables and views, and the running statement
-- What hides a name from a read, for messages: "the CTE ", for example; "" where that is not known.
CREATE OR REPLACE MACRO _rst_kind_of(name) AS
    CASE
        WHEN list_contains(list_transform(json_extract_string(json_serialize_sql(current_query()::VARCHAR), '$..key'), lambda rst_key: lower(rst_key)), lower(name))
            THEN 'the CTE '
        WHEN EXISTS (FROM duckdb_tables() AS t WHERE t.temporary AND lower(t.table_name) = lower(name)) THEN 'the temporary table '
        WHEN EXISTS (FROM duckdb_views() AS v WHERE v.temporary AND NOT v.internal AND lower(v.view_name) = lower(name)) THEN 'the temporary view '
        ELSE ''
    END;
