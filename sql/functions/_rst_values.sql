-- name: _rst_values
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The Python function behind rst_to_list. It can be replaced without changing the macros of each connection.
CREATE OR REPLACE MACRO _rst_values(pixels, dtype) AS _rstpy_to_list(pixels::BLOB, dtype::VARCHAR);
