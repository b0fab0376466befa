-- name: _rst_no_rows
-- kind: table macro
-- grain: no row
-- reads: nothing
-- No row, in place of which DuckDB's optimizer expects many. Added to a read, it keeps a join from holding all rows that are read in memory: DuckDB holds the side of a join that it expects to be small, and expects one row of a read.
CREATE OR REPLACE MACRO _rst_no_rows() AS TABLE
SELECT range AS rst_row
FROM range(1000000000000)
LIMIT (SELECT 0);
