-- name: _rst_tile_offset
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The offset of tile n (1-based) of a level: the offset of its run, plus the bytes before it in the run. It is 0 for a sparse tile.
CREATE OR REPLACE MACRO _rst_tile_offset(tile_byte_counts, run_offsets, tile_gaps, n) AS
    CASE
        WHEN tile_byte_counts[n] = 0 THEN 0
        WHEN tile_byte_counts[n] > 0 THEN (
            run_offsets[(n - 1) // _rst_run_tiles() + 1]
            -- A slice of the list would copy the whole list once per tile.
            + coalesce(list_sum(list_transform(
                range((n - 1) // _rst_run_tiles() * _rst_run_tiles() + 1, n), lambda rst_m: tile_byte_counts[rst_m]
            )), 0)
            + CASE
                WHEN len(tile_gaps) > 1
                    THEN coalesce(list_sum(list_transform(
                        range((n - 1) // _rst_run_tiles() * _rst_run_tiles() + 1, n), lambda rst_m: tile_gaps[rst_m]
                    )), 0)
                ELSE tile_gaps[1]::HUGEINT * ((n - 1) % _rst_run_tiles())
            END
        )::BIGINT
    END;
