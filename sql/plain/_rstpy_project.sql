-- name: _rstpy_project
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Substitute without Python: an error that names the projections of plain SQL.
CREATE OR REPLACE MACRO _rstpy_project(parts, from_code, to_code) AS
    CASE
        WHEN parts IS NULL THEN parts
        ELSE error('crs: got ' || coalesce(from_code, 'none') || ' for the area and ' || coalesce(to_code, 'none')
            || ' for the raster; plain SQL projects longitude and latitude to UTM and EPSG:3857 only; give bbox := in '
            || 'the raster''s CRS with geometry_crs :=, or run this in Python after rasteret_sql.install(con)')
    END;
