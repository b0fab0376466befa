-- name: _rst_item_time
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The time of an item: its datetime, or else the start, the middle or the end of its period, or NULL without period_time.
CREATE OR REPLACE MACRO _rst_item_time(datetime, start_datetime, end_datetime, period_time) AS
    coalesce(
        datetime,
        CASE period_time
            WHEN 'start' THEN coalesce(start_datetime, end_datetime)
            WHEN 'end' THEN coalesce(end_datetime, start_datetime)
            WHEN 'middle' THEN make_timestamptz(
                epoch_us(coalesce(start_datetime, end_datetime))
                + (epoch_us(coalesce(end_datetime, start_datetime)) - epoch_us(coalesce(start_datetime, end_datetime))) // 2
            )
            -- The message is NULL without period_time, and an error of NULL is NULL.
            ELSE error('period_time: got ''' || period_time::VARCHAR || ''', expected ''start'', ''middle'' or ''end''')
        END
    );
