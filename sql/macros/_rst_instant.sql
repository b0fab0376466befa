-- name: _rst_instant
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- First microsecond (UTC, since 1970) of a date, month, year or RFC 3339 time in text; an error for other text.
CREATE OR REPLACE MACRO _rst_instant(text) AS
    CASE
        WHEN regexp_full_match(text, '\d{4}')
            THEN epoch_us(try_strptime(text || '-01-01', '%Y-%m-%d'))
        WHEN regexp_full_match(text, '\d{4}-\d{2}')
            THEN epoch_us(try_strptime(text || '-01', '%Y-%m-%d'))
        WHEN regexp_full_match(text, '\d{4}-\d{2}-\d{2}')
            THEN epoch_us(try_strptime(text, '%Y-%m-%d'))
        WHEN regexp_full_match(text, '\d{4}-\d{2}-\d{2}[Tt ].*(Z|z|[+-]\d{2}(:?\d{2})?)')
            THEN epoch_us(TRY_CAST(upper(text) AS TIMESTAMP WITH TIME ZONE))
        WHEN regexp_full_match(text, '\d{4}-\d{2}-\d{2}[Tt ].*')
            THEN epoch_us(TRY_CAST(upper(text) || 'Z' AS TIMESTAMP WITH TIME ZONE))
    END;
