-- name: _rst_pixel_number
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The pixel along one axis, 0-based, at a distance in pixels from its edge; NULL beside the tile. An edge belongs to the pixel after it, as in GDAL, whatever bits division lost: 1e-6 pixels, as in geo/touched.py.
CREATE OR REPLACE MACRO _rst_pixel_number(distance, pixels) AS
    CASE WHEN distance >= -1e-6 AND distance < pixels THEN least(floor(distance + 1e-6), pixels - 1)::BIGINT END;
