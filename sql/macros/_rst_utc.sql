-- name: _rst_utc
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- A time in text, or of any type of DuckDB, as TIMESTAMPTZ. A time without an offset is UTC, in any time zone of the session.
CREATE OR REPLACE MACRO _rst_utc(value, name) AS
    CASE
        WHEN nullif(value::VARCHAR, '') IS NULL THEN NULL::TIMESTAMP WITH TIME ZONE
        WHEN _rst_instant(value::VARCHAR) IS NULL
            THEN error(name || ': got ''' || value::VARCHAR || ''', expected a time such as 2024-01-31T10:20:30Z; correct the source')
        ELSE make_timestamptz(_rst_instant(value::VARCHAR))
    END;
