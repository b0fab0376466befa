-- name: _rstpy_geometry_parts
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Where there is no Python: an error that says that geometry needs it.
CREATE OR REPLACE MACRO _rstpy_geometry_parts(geometry_text, code) AS
    CASE
        WHEN geometry_text IS NULL THEN [{'xmin': 0::DOUBLE, 'ymin': 0::DOUBLE, 'xmax': 0::DOUBLE, 'ymax': 0::DOUBLE}]
        ELSE error('geometry: got a geometry, which plain SQL cannot cut tiles by; give bbox := instead, or run this in '
            || 'Python after rasteret_sql.install(con)')
    END;
