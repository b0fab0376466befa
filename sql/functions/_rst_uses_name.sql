-- name: _rst_uses_name
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Whether an index is a name without a schema, or the text of a query that reads such a name.
CREATE OR REPLACE MACRO _rst_uses_name(index, name) AS
    lower(trim(index::VARCHAR, '"')) = lower(name)
    -- Of a text that is no query, DuckDB gives an error as JSON.
    OR contains(lower(json_serialize_sql(index::VARCHAR)::VARCHAR), '"schema_name":"","table_name":"' || lower(name) || '"');
