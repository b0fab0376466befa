-- name: _rst_quoted
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- A text in quotes, as messages name it: its beginning where it is long.
CREATE OR REPLACE MACRO _rst_quoted(value) AS
    '''' || CASE WHEN length(value) <= 60 THEN value ELSE value[:57] || '...' END || '''';
