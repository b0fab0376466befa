-- name: rst_stats
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Statistics of the valid pixels of a tile, as a struct: count, sum, mean, stdev (of the population), min and max. Give the mask of the tile where it has one: it is exact, and nodata is not always all that is invalid.
CREATE OR REPLACE MACRO rst_stats(pixels, dtype, nodata := NULL, mask := NULL) AS
    list_transform([_rst_valid_values(pixels, dtype, nodata, mask)], lambda rst_known: CASE WHEN rst_known IS NOT NULL THEN {
        'count': len(rst_known),
        'sum': list_sum(rst_known),
        'mean': list_avg(rst_known),
        'stdev': list_stddev_pop(rst_known),
        'min': list_min(rst_known),
        'max': list_max(rst_known)
    } END)[1];
