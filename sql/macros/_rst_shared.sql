-- name: _rst_shared
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- What the rows of a group that say it agree on; NULL where they do not.
CREATE OR REPLACE MACRO _rst_shared(value) AS
    CASE WHEN min(value) = max(value) THEN min(value) END;
