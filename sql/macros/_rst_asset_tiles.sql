-- name: _rst_asset_tiles
-- kind: table macro
-- grain: one row per tile and band of the assets planned
-- reads: rows of _rst_asset_plan
-- The tiles in the window of each asset, their byte ranges, and their mask tiles.
CREATE OR REPLACE MACRO _rst_asset_tiles(plan, geometry := NULL, crs := 'OGC:CRS84') AS TABLE
WITH
grid AS (
    SELECT
        p.asset_no,
        p.crs AS raster_crs,
        p.transform,
        p.alpha_band,
        p.bands,
        p.image.width AS width,
        p.image.height AS height,
        p.image.format.planar AS planar,
        p.image.format.tile_width AS tile_width,
        p.image.format.tile_height AS tile_height,
        (p.image.width::BIGINT + p.image.format.tile_width - 1) // p.image.format.tile_width AS tiles_across,
        (p.image.height::BIGINT + p.image.format.tile_height - 1) // p.image.format.tile_height AS tiles_down,
        p.image.tile_byte_counts AS tile_byte_counts,
        p.image.run_offsets AS run_offsets,
        p.image.tile_gaps AS tile_gaps,
        p.image.mask AS mask,
        p.pixel_parts,
        {
            'width': p.image.width::INTEGER,
            'height': p.image.height::INTEGER,
            'tile_width': p.image.format.tile_width::INTEGER,
            'tile_height': p.image.format.tile_height::INTEGER,
            'first_row': (p.row_off // p.image.format.tile_height)::INTEGER,
            'last_row': ((p.row_end - 1) // p.image.format.tile_height)::INTEGER,
            'first_col': (p.col_off // p.image.format.tile_width)::INTEGER,
            'last_col': ((p.col_end - 1) // p.image.format.tile_width)::INTEGER
        } AS tile_grid
    FROM query_table(plan) AS p
),
cells AS (
    SELECT
        g.* EXCLUDE (tile_grid),
        unnest(
            CASE
                WHEN geometry IS NOT NULL
                    THEN _rstpy_tiles_touched(geometry::VARCHAR, crs, g.raster_crs, g.transform, g.tile_grid)
                ELSE flatten(list_transform(
                    range(g.tile_grid.first_row, g.tile_grid.last_row + 1),
                    lambda rst_r: range(
                        rst_r * g.tiles_across + g.tile_grid.first_col, rst_r * g.tiles_across + g.tile_grid.last_col + 1
                    )
                ))
            END
        ) AS cell
    FROM grid AS g
),
touched AS (
    SELECT
        c.* EXCLUDE (cell, pixel_parts),
        c.cell // c.tiles_across AS tile_row,
        c.cell % c.tiles_across AS tile_col,
        least(c.tile_width, c.width - (c.cell % c.tiles_across) * c.tile_width)::INTEGER AS tile_pixel_width,
        least(c.tile_height, c.height - (c.cell // c.tiles_across) * c.tile_height)::INTEGER AS tile_pixel_height
    FROM cells AS c
    -- In a raster of the whole Earth, the parts of an area over the antimeridian are far apart.
    WHERE len(c.pixel_parts) = 1
        OR len(list_filter(c.pixel_parts, lambda rst_part:
            rst_part.xmin < (c.cell % c.tiles_across + 1) * c.tile_width
            AND rst_part.xmax > c.cell % c.tiles_across * c.tile_width
            AND rst_part.ymin < (c.cell // c.tiles_across + 1) * c.tile_height
            AND rst_part.ymax > c.cell // c.tiles_across * c.tile_height
        )) > 0
),
masked AS (
    SELECT
        t.*,
        CASE
            WHEN t.mask IS NOT NULL
                THEN flatten(list_transform(
                    range(
                        t.tile_row * t.tile_height // t.mask.format.tile_height,
                        (t.tile_row * t.tile_height + t.tile_pixel_height - 1) // t.mask.format.tile_height + 1
                    ),
                    lambda rst_mask_row: list_transform(
                        range(
                            t.tile_col * t.tile_width // t.mask.format.tile_width,
                            (t.tile_col * t.tile_width + t.tile_pixel_width - 1) // t.mask.format.tile_width + 1
                        ),
                        lambda rst_mask_col: list_transform(
                            [rst_mask_row * ((t.width::BIGINT + t.mask.format.tile_width - 1) // t.mask.format.tile_width) + rst_mask_col + 1],
                            lambda rst_n: {
                                'tile_row': rst_mask_row::INTEGER,
                                'tile_col': rst_mask_col::INTEGER,
                                'tile_offset': _rst_tile_offset(t.mask.tile_byte_counts, t.mask.run_offsets, t.mask.tile_gaps, rst_n),
                                'tile_byte_count': t.mask.tile_byte_counts[rst_n]::BIGINT
                            }
                        )[1]
                    )
                ))
            WHEN t.alpha_band IS NOT NULL AND t.planar
                THEN list_transform(
                    [(t.alpha_band - 1) * t.tiles_across * t.tiles_down + t.tile_row * t.tiles_across + t.tile_col + 1],
                    lambda rst_n: {
                        'tile_row': t.tile_row::INTEGER,
                        'tile_col': t.tile_col::INTEGER,
                        'tile_offset': _rst_tile_offset(t.tile_byte_counts, t.run_offsets, t.tile_gaps, rst_n),
                        'tile_byte_count': t.tile_byte_counts[rst_n]::BIGINT
                    }
                )
        END AS mask_tiles
    FROM touched AS t
),
banded AS (
    SELECT m.* EXCLUDE (bands), unnest(m.bands) AS chosen
    FROM masked AS m
),
placed AS (
    SELECT
        b.*,
        CASE
            WHEN b.mask IS NOT NULL THEN 'mask'
            WHEN b.chosen.nodata IS NOT NULL THEN 'nodata'
            WHEN b.alpha_band IS NOT NULL AND b.alpha_band != b.chosen.band THEN 'alpha'
        END AS mask_kind,
        (CASE WHEN b.planar THEN (b.chosen.band - 1) * b.tiles_across * b.tiles_down ELSE 0 END)
            + b.tile_row * b.tiles_across + b.tile_col + 1 AS n
    FROM banded AS b
)
SELECT
    p.asset_no,
    p.chosen.band AS band,
    p.chosen.name AS band_name,
    p.chosen.position AS band_position,
    p.chosen.nodata AS nodata,
    p.chosen.scale AS scale,
    p.chosen."offset" AS "offset",
    p.chosen.unit AS unit,
    p.tile_row::INTEGER AS tile_row,
    p.tile_col::INTEGER AS tile_col,
    p.tile_pixel_width AS width,
    p.tile_pixel_height AS height,
    p.tile_width,
    p.tile_height,
    coalesce(
        _rst_tile_offset(p.tile_byte_counts, p.run_offsets, p.tile_gaps, p.n),
        error('tile (row ' || p.tile_row || ', col ' || p.tile_col || ') of asset number ' || p.asset_no || ': the index '
            || 'has no offset and byte count of it, expected those of every tile; build the index again')
    ) AS tile_offset,
    p.tile_byte_counts[p.n] AS tile_byte_count,
    p.mask_kind,
    CASE WHEN p.mask_kind = 'mask' OR p.mask_kind = 'alpha' THEN p.mask_tiles END AS mask_tiles
FROM placed AS p;
