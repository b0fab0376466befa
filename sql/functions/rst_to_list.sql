-- name: rst_to_list
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The pixels or the mask of a tile as a list of numbers, row by row: rst_to_list(pixels, dtype), rst_to_list(mask, 'bool').
CREATE OR REPLACE MACRO rst_to_list(pixels, dtype) AS _rst_values(pixels, dtype);
