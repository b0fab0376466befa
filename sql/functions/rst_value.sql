-- name: rst_value
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The number of the pixel in which a point lies, in the CRS of the file; NULL beside the tile. A point on an edge is in the pixel to the right of it or below it, as in GDAL.
CREATE OR REPLACE MACRO rst_value(pixels, dtype, width, transform, x, y) AS
    list_transform([_rst_values(pixels, dtype)], lambda rst_tile: rst_tile[
        width * _rst_pixel_number((y - transform[6]) / transform[5], len(rst_tile) // width)
        + _rst_pixel_number((x - transform[3]) / transform[1], width) + 1
    ])[1];
