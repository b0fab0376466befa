-- name: _rst_list_or_null
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- A list of names, or NULL for a single text, which Python refuses. DuckDB computes it while it binds a query; it does not compute TRY_CAST then.
CREATE OR REPLACE MACRO _rst_list_or_null(names) AS (CASE WHEN typeof(names) = 'VARCHAR' THEN NULL ELSE names END)::VARCHAR[];
