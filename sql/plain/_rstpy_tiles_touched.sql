-- name: _rstpy_tiles_touched
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Where there is no Python: an error that says that geometry needs it.
CREATE OR REPLACE MACRO _rstpy_tiles_touched(geometry_text, code, raster_code, transform, grid) AS
    CASE
        WHEN geometry_text IS NULL THEN []::BIGINT[]
        ELSE error('geometry: got a geometry, which plain SQL cannot cut tiles by; give bbox := instead, or run this in '
            || 'Python after rasteret_sql.install(con)')
    END;
