-- name: _rst_is_bound
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Whether json_serialize_plan found all names. DuckDB 2.0 binds a scan of Parquet, and does not serialize it.
CREATE OR REPLACE MACRO _rst_is_bound(plan) AS contains(plan, '"error":false') OR contains(plan, 'support serialization');
