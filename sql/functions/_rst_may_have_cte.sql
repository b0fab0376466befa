-- name: _rst_may_have_cte
-- kind: scalar macro
-- grain: one value
-- reads: the running statement
-- Whether the running statement may have a CTE; of an EXECUTE only the name is known.
CREATE OR REPLACE MACRO _rst_may_have_cte() AS regexp_matches(current_query(), '(?i)\bWITH\b|\bEXECUTE\b');
