-- name: _rst_instant_after
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- First microsecond (UTC, since 1970) after a date, month, year or RFC 3339 time in text. The caller passes its first microsecond.
CREATE OR REPLACE MACRO _rst_instant_after(text, instant) AS
    epoch_us(make_timestamp(instant) + CASE length(text)
        WHEN 4 THEN INTERVAL 1 YEAR
        WHEN 7 THEN INTERVAL 1 MONTH
        WHEN 10 THEN INTERVAL 1 DAY
        ELSE INTERVAL 1 MICROSECOND
    END);
