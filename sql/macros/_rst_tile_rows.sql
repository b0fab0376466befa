-- name: _rst_tile_rows
-- kind: table macro
-- grain: one row per tile and band, ordered by asset and by byte offset
-- reads: rows of _rst_asset_plan, rows of _rst_asset_tiles
-- The columns of read_tiles, without pixels.
CREATE OR REPLACE MACRO _rst_tile_rows(plan, tiles) AS TABLE
SELECT
    a.collection,
    a.item_id,
    a.asset,
    t.band,
    t.band_name,
    a.datetime,
    a.level,
    t.tile_row,
    t.tile_col,
    list_transform([{
        'x': a.transform[3] + a.transform[1] * t.tile_col * t.tile_width,
        'y': a.transform[6] + a.transform[5] * t.tile_row * t.tile_height,
        'x_end': a.transform[3] + a.transform[1] * (t.tile_col * t.tile_width + t.width),
        'y_end': a.transform[6] + a.transform[5] * (t.tile_row * t.tile_height + t.height)
    }], lambda rst_corner: {
        'xmin': least(rst_corner.x, rst_corner.x_end),
        'ymin': least(rst_corner.y, rst_corner.y_end),
        'xmax': greatest(rst_corner.x, rst_corner.x_end),
        'ymax': greatest(rst_corner.y, rst_corner.y_end)
    })[1] AS bounds,
    a.crs,
    [
        a.transform[1], 0::DOUBLE, a.transform[3] + a.transform[1] * t.tile_col * t.tile_width,
        0::DOUBLE, a.transform[5], a.transform[6] + a.transform[5] * t.tile_row * t.tile_height
    ] AS transform,
    a.image.format.dtype AS dtype,
    t.width,
    t.height,
    t.nodata,
    t.scale,
    t."offset",
    t.unit,
    a.href,
    a.mirror,
    t.tile_offset,
    t.tile_byte_count,
    t.mask_kind,
    t.mask_tiles,
    {'href': coalesce(a.mirror, a.href), 'etag': a.etag, 'file_size': a.file_size} AS address,
    t.asset_no
FROM query_table(tiles) AS t
JOIN query_table(plan) AS a USING (asset_no)
ORDER BY t.asset_no ASC NULLS LAST, t.tile_offset ASC NULLS LAST, t.tile_row ASC NULLS LAST, t.tile_col ASC NULLS LAST, t.band_position ASC NULLS LAST, t.band ASC NULLS LAST;
