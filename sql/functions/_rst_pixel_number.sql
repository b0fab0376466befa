-- name: _rst_pixel_number
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The pixel along one axis, 0-based, in which a position in pixels lies; NULL beside the tile. An edge belongs to the pixel after it, as in GDAL, whatever bits division lost: 1e-6 pixels, as in geo/touched.py.
CREATE OR REPLACE MACRO _rst_pixel_number(position, pixels) AS
    CASE WHEN position >= -1e-6 AND position < pixels THEN least(floor(position + 1e-6), pixels - 1)::BIGINT END;
