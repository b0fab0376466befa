-- name: _rst_shared
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The common value of a group; NULL if its values differ. Missing values do not count.
CREATE OR REPLACE MACRO _rst_shared(value) AS
    CASE WHEN min(value) = max(value) THEN min(value) END;
