-- name: _rst_instant_after
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- First microsecond (UTC, since 1970) after a date, month, year or RFC 3339 time in text; NULL for other text.
CREATE OR REPLACE MACRO _rst_instant_after(text) AS
    CASE
        WHEN regexp_full_match(text, '\d{4}')
            THEN epoch_us(try_strptime(text || '-01-01', '%Y-%m-%d') + INTERVAL 1 YEAR)
        WHEN regexp_full_match(text, '\d{4}-\d{2}')
            THEN epoch_us(try_strptime(text || '-01', '%Y-%m-%d') + INTERVAL 1 MONTH)
        WHEN regexp_full_match(text, '\d{4}-\d{2}-\d{2}')
            THEN epoch_us(try_strptime(text, '%Y-%m-%d') + INTERVAL 1 DAY)
        ELSE _rst_instant(text) + 1
    END;
