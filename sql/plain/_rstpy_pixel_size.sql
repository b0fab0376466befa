-- name: _rstpy_pixel_size
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Substitute without Python: an error that names the argument that plain SQL needs.
CREATE OR REPLACE MACRO _rstpy_pixel_size(size, from_code, to_code, area, area_code) AS
    error('resolution: got one in the units of ' || from_code || ' for a raster in ' || to_code || '; plain SQL takes it in '
        || 'units of each raster''s CRS; leave resolution_crs out, or run this in Python after rasteret_sql.install(con)');
