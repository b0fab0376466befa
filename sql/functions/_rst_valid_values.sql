-- name: _rst_valid_values
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The valid pixels of a tile as a list of numbers: those that are not nodata, where a mask is given those that it says are valid, and no NaN.
CREATE OR REPLACE MACRO _rst_valid_values(pixels, dtype, nodata, mask) AS
    CASE
        WHEN mask IS NULL
            THEN list_filter(_rst_values(pixels, dtype), lambda rst_number: NOT isnan(rst_number) AND rst_number IS DISTINCT FROM nodata::DOUBLE)
        ELSE list_transform(
            list_filter(
                list_zip(_rst_values(pixels, dtype), _rst_values(mask, 'bool')),
                lambda rst_pair: rst_pair[2] != 0 AND NOT isnan(rst_pair[1])
            ),
            lambda rst_pair: rst_pair[1]
        )
    END;
