-- name: _rst_instant
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- First microsecond (UTC, since 1970) of a date, month, year or RFC 3339 time in text; an error for other text.
CREATE OR REPLACE MACRO _rst_instant(text) AS
    CASE
        WHEN regexp_full_match(text, '\d{4}(-\d{2}){0,2}')
            THEN epoch_us(try_strptime(text || substr('-01-01', length(text) - 3), '%Y-%m-%d'))
        WHEN regexp_full_match(text, '\d{4}-\d{2}-\d{2}[Tt ].*')
            THEN epoch_us(TRY_CAST(
                upper(text) || CASE WHEN regexp_full_match(text, '.{10}.*(Z|z|[+-]\d{2}(:?\d{2})?)') THEN '' ELSE 'Z' END
                AS TIMESTAMP WITH TIME ZONE
            ))
    END;
