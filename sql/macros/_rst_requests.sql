-- name: _rst_requests
-- kind: table macro
-- grain: one row per byte range of a tile or mask tile, with the number of its request
-- reads: rows of address, tile_offset, tile_byte_count and mask_tiles
-- The byte ranges of each file version, coalesced: near ranges share a request, and long requests are cut.
CREATE OR REPLACE MACRO _rst_requests(tiles) AS TABLE
WITH
ranges AS (
    SELECT DISTINCT address, range_start, range_end
    FROM (
        SELECT address, tile_offset AS range_start, tile_offset + tile_byte_count AS range_end
        FROM query_table(tiles)
        UNION ALL
        SELECT address, m.tile.tile_offset, m.tile.tile_offset + m.tile.tile_byte_count
        FROM (SELECT address, unnest(mask_tiles) AS tile FROM query_table(tiles)) AS m
    )
    WHERE range_start > 0 AND range_end > range_start
),
gaps AS (
    SELECT
        *,
        range_start - max(range_end) OVER (
            PARTITION BY address ORDER BY range_start ASC NULLS LAST, range_end ASC NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS gap
    FROM ranges
),
runs AS (
    SELECT
        *,
        count(*) FILTER (WHERE gap > _rst_limits().max_gap_bytes) OVER (
            PARTITION BY address ORDER BY range_start ASC NULLS LAST, range_end ASC NULLS LAST ROWS UNBOUNDED PRECEDING
        ) AS run
    FROM gaps
),
cuts AS (
    SELECT
        *,
        (range_start - min(range_start) OVER (PARTITION BY address, run)) // _rst_limits().max_request_bytes AS cut
    FROM runs
)
SELECT
    address,
    range_start,
    range_end,
    dense_rank() OVER (ORDER BY address ASC NULLS LAST, run ASC NULLS LAST, cut ASC NULLS LAST) - 1 AS request
FROM cuts;
