-- name: _rst_datetime_range
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- STAC's datetime forms ('2024-01', '2024-01-01/2024-02-15', '../2024') as microseconds, start inclusive, end exclusive.
CREATE OR REPLACE MACRO _rst_datetime_range(text) AS
    list_transform(
        list_transform(
            [{
                'first': nullif(nullif(trim(split_part(text, '/', 1)), ''), '..'),
                'last': nullif(nullif(trim(
                    CASE WHEN contains(text, '/') THEN split_part(text, '/', 2) ELSE text END), ''), '..')
            }],
            lambda rst_part: {
                'first': rst_part.first,
                'last': rst_part.last,
                'first_us': _rst_instant(rst_part.first),
                'last_us': _rst_instant(rst_part.last)
            }
        ),
        lambda rst_part:
            CASE
                WHEN length(text) - length(replace(text, '/', '')) > 1
                    OR (rst_part.first IS NOT NULL AND rst_part.first_us IS NULL)
                    OR (rst_part.last IS NOT NULL AND rst_part.last_us IS NULL)
                    OR trim(text) IN ('', '..')
                    THEN error('datetime: got ''' || text || ''', expected a year, month, day or RFC 3339 time, or '
                        || 'two of them with a slash between, such as ''2024-01'' or ''2024-01-01/2024-02-15''; '
                        || '''..'' leaves an end open')
                WHEN rst_part.first_us > rst_part.last_us
                    THEN error('datetime: got ''' || text || ''', which ends before it starts; swap the two ends')
                ELSE {
                    'start_us': coalesce(rst_part.first_us, -9223372036854775807),
                    'end_us': coalesce(_rst_instant_after(rst_part.last, rst_part.last_us), 9223372036854775807)
                }
            END
    )[1];
