-- name: _rstpy_pixel_size
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Where there is no Python: an error that says what plain SQL needs instead.
CREATE OR REPLACE MACRO _rstpy_pixel_size(size, from_code, to_code, area, area_code) AS
    error('resolution: got one in the units of ' || from_code || ' for a raster in ' || to_code || '; plain SQL takes it in '
        || 'units of each raster''s CRS; leave resolution_crs out, or run this in Python after rasteret_sql.install(con)');
