-- name: _rst_period_start
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- First microsecond of a period in text, as in _rst_datetime_range. Without a lambda it is a constant, so row groups are skipped.
CREATE OR REPLACE MACRO _rst_period_start(text) AS
    coalesce(_rst_instant(trim(split_part(text, '/', 1))), -9223372036854775807);
