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
FROM asset_index, (SELECT 64 AS run_tiles) AS rst_format    -- the value of _rst_run_tiles()
WHERE len(list_filter(
    list_concat(
        list_transform(levels, lambda rst_level: {
            'width': rst_level.width,
            'height': rst_level.height,
            'tile_width': formats[rst_level.format].tile_width,
            'tile_height': formats[rst_level.format].tile_height,
            'planes': CASE WHEN formats[rst_level.format].planar THEN formats[rst_level.format].samples_per_pixel ELSE 1 END,
            'counts': len(rst_level.tile_byte_counts),
            'runs': len(rst_level.run_offsets),
            'gaps': len(rst_level.tile_gaps)
        }),
        list_transform(list_filter(levels, lambda rst_level: rst_level.mask IS NOT NULL), lambda rst_level: {
            'width': rst_level.mask.width,
            'height': rst_level.mask.height,
            'tile_width': formats[rst_level.mask.format].tile_width,
            'tile_height': formats[rst_level.mask.format].tile_height,
            'planes': CASE WHEN formats[rst_level.mask.format].planar THEN formats[rst_level.mask.format].samples_per_pixel ELSE 1 END,
            'counts': len(rst_level.mask.tile_byte_counts),
            'runs': len(rst_level.mask.run_offsets),
            'gaps': len(rst_level.mask.tile_gaps)
        })
    ),
    lambda rst_level: (
        rst_level.counts = ((rst_level.width::BIGINT + rst_level.tile_width - 1) // rst_level.tile_width)
            * ((rst_level.height::BIGINT + rst_level.tile_height - 1) // rst_level.tile_height) * rst_level.planes
        AND rst_level.runs = (rst_level.counts + rst_format.run_tiles - 1) // rst_format.run_tiles
        AND (rst_level.gaps = 1 OR rst_level.gaps = rst_level.counts)
    ) IS NOT TRUE
)) > 0
ORDER BY collection, item_id, asset
