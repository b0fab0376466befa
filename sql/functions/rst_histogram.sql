-- name: rst_histogram
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- How many valid pixels of a tile have each value, as a map: for classes.
CREATE OR REPLACE MACRO rst_histogram(pixels, dtype, nodata := NULL, mask := NULL) AS
    list_histogram(_rst_valid_values(pixels, dtype, nodata, mask));
