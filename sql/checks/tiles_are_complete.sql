-- name: tiles_are_complete
-- kind: check
-- grain: one row per asset
-- reads: asset_index
-- Every level has an offset and a byte count for each of its tiles.
SELECT
    collection,
    item_id,
    asset,
    'a level has other numbers of offsets, byte counts and tiles' AS problem
FROM asset_index
WHERE len(list_filter(levels, lambda l:
    len(l.tile_offsets) <> len(l.tile_byte_counts)
    OR len(l.tile_offsets)
        <> ((l.width::BIGINT + l.format.tile_width - 1) // l.format.tile_width)
            * ((l.height::BIGINT + l.format.tile_height - 1) // l.format.tile_height)
            * CASE WHEN l.format.planar THEN l.format.samples_per_pixel ELSE 1 END
)) > 0
ORDER BY collection, item_id, asset
