-- name: tiles_are_complete
-- kind: check
-- grain: one row per asset
-- reads: asset_index
-- Every level and mask has a format, a byte count per tile, an offset per run of tiles, and one gap or a gap per tile.
SELECT
    collection,
    item_id,
    asset,
    'a level has other numbers of tiles, byte counts, offsets of runs and gaps' AS problem
FROM asset_index, (SELECT 64 AS run_tiles) AS format    -- the value of _rst_run_tiles()
WHERE len(list_filter(
    list_concat(
        list_transform(levels, lambda l: {
            'width': l.width,
            'height': l.height,
            'tile_width': formats[l.format].tile_width,
            'tile_height': formats[l.format].tile_height,
            'planes': CASE WHEN formats[l.format].planar THEN formats[l.format].samples_per_pixel ELSE 1 END,
            'counts': len(l.tile_byte_counts),
            'runs': len(l.run_offsets),
            'gaps': len(l.tile_gaps)
        }),
        list_transform(list_filter(levels, lambda l: l.mask IS NOT NULL), lambda l: {
            'width': l.mask.width,
            'height': l.mask.height,
            'tile_width': formats[l.mask.format].tile_width,
            'tile_height': formats[l.mask.format].tile_height,
            'planes': CASE WHEN formats[l.mask.format].planar THEN formats[l.mask.format].samples_per_pixel ELSE 1 END,
            'counts': len(l.mask.tile_byte_counts),
            'runs': len(l.mask.run_offsets),
            'gaps': len(l.mask.tile_gaps)
        })
    ),
    lambda l: (
        l.counts = ((l.width::BIGINT + l.tile_width - 1) // l.tile_width)
            * ((l.height::BIGINT + l.tile_height - 1) // l.tile_height) * l.planes
        AND l.runs = (l.counts + format.run_tiles - 1) // format.run_tiles
        AND (l.gaps = 1 OR l.gaps = l.counts)
    ) IS NOT TRUE
)) > 0
ORDER BY collection, item_id, asset
