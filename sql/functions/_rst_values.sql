-- name: _rst_values
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The function in Python behind rst_to_list, which can be made anew without touching the macros of each connection.
CREATE OR REPLACE MACRO _rst_values(pixels, dtype) AS _rstpy_to_list(pixels::BLOB, dtype::VARCHAR);
