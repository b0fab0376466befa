-- name: rst_normalized_difference
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- (first - second) / (first + second) for each pixel of two tiles of one size, as a list of numbers, row by row; NULL where the sum is 0.
CREATE OR REPLACE MACRO rst_normalized_difference(first_pixels, first_dtype, second_pixels, second_dtype) AS
    list_transform(
        list_zip(_rst_values(first_pixels, first_dtype), _rst_values(second_pixels, second_dtype)),
        lambda rst_pair: (rst_pair[1] - rst_pair[2]) / nullif(rst_pair[1] + rst_pair[2], 0)
    );
