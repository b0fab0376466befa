-- name: _rst_tile_offset
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Where the bytes of tile n (1-based) of a level begin: the offset of its run, and what lies before it there; 0 where it is sparse.
CREATE OR REPLACE MACRO _rst_tile_offset(tile_byte_counts, run_offsets, tile_gaps, n) AS
    CASE
        WHEN tile_byte_counts[n] = 0 THEN 0
        WHEN tile_byte_counts[n] > 0 THEN (
            run_offsets[(n - 1) // _rst_run_tiles() + 1]
            -- A slice of a list would copy the whole list, once for each of its tiles.
            + coalesce(list_sum(list_transform(
                range((n - 1) // _rst_run_tiles() * _rst_run_tiles() + 1, n), lambda m: tile_byte_counts[m]
            )), 0)
            + CASE
                WHEN len(tile_gaps) > 1
                    THEN coalesce(list_sum(list_transform(
                        range((n - 1) // _rst_run_tiles() * _rst_run_tiles() + 1, n), lambda m: tile_gaps[m]
                    )), 0)
                ELSE tile_gaps[1]::HUGEINT * ((n - 1) % _rst_run_tiles())
            END
        )::BIGINT
    END;
