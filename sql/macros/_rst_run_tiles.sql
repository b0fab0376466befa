-- name: _rst_run_tiles
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The number of tiles that share one of run_offsets.
CREATE OR REPLACE MACRO _rst_run_tiles() AS 64::BIGINT;
