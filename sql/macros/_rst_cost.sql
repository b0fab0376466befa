-- name: _rst_cost
-- kind: table macro
-- grain: one row per collection and band, and one row for the total, with band 'total'
-- reads: rows of _rst_asset_plan
-- The cost of a plan: the rows of explain_read.
CREATE OR REPLACE MACRO _rst_cost(plan, geometry := NULL, crs := 'OGC:CRS84') AS TABLE
WITH
planned_tiles AS MATERIALIZED (
    SELECT
        t.*,
        {'href': coalesce(a.mirror, a.href), 'etag': a.etag, 'file_size': a.file_size} AS address,
        a.collection,
        a.item_id,
        regexp_extract(a.image.format.dtype, '\d+')::BIGINT // 8 AS sample_bytes
    FROM _rst_asset_tiles(plan, geometry := geometry, crs := crs) AS t
    JOIN query_table(plan) AS a USING (asset_no)
),
planned_requests AS MATERIALIZED (
    SELECT
        *,
        max(range_end) OVER (PARTITION BY request) - min(range_start) OVER (PARTITION BY request) AS request_bytes
    FROM _rst_requests('planned_tiles')
),
pieces AS (
    SELECT *, true AS is_first, tile_offset AS piece_start, tile_offset + tile_byte_count AS piece_end
    FROM planned_tiles
    UNION ALL
    SELECT * EXCLUDE (mask_tile), false, mask_tile.tile_offset, mask_tile.tile_offset + mask_tile.tile_byte_count
    FROM (SELECT *, unnest(mask_tiles) AS mask_tile FROM planned_tiles)
),
cost AS (
    SELECT
        p.collection,
        p.band_name,
        p.item_id,
        p.address,
        p.is_first,
        p.width * p.height * p.sample_bytes AS pixel_bytes,
        p.tile_byte_count = 0 AS is_sparse,
        r.range_start,
        r.range_end,
        r.request,
        r.request_bytes
    FROM pieces AS p
    LEFT JOIN planned_requests AS r
        ON r.address = p.address AND r.range_start = p.piece_start AND r.range_end = p.piece_end
),
totals AS (
    SELECT
        collection,
        band_name,
        grouping(band_name) = 1 AS is_total,
        count(DISTINCT item_id) AS items,
        count(DISTINCT address) AS files,
        count(*) FILTER (WHERE is_first) AS tiles,
        count(*) FILTER (WHERE is_first AND is_sparse) AS sparse_tiles,
        sum(pixel_bytes) FILTER (WHERE is_first) AS pixel_bytes,
        list_sum(list_transform(
            list_distinct(list({'a': address, 's': range_start, 'e': range_end}) FILTER (WHERE request IS NOT NULL)),
            lambda rst_piece: rst_piece.e - rst_piece.s
        )) AS tile_bytes,
        list_sum(list_transform(
            list_distinct(list({'r': request, 'b': request_bytes}) FILTER (WHERE request IS NOT NULL)),
            lambda rst_piece: rst_piece.b
        )) AS request_bytes,
        count(DISTINCT request) AS requests
    FROM cost
    GROUP BY GROUPING SETS ((collection, band_name), ())
)
SELECT
    collection,
    CASE WHEN is_total THEN 'total' ELSE band_name END AS band,
    items,
    files,
    tiles,
    sparse_tiles,
    requests,
    coalesce(tile_bytes, 0)::BIGINT AS tile_bytes,       -- compressed, as stored
    coalesce(request_bytes, 0)::BIGINT AS request_bytes,  -- including gaps inside requests
    coalesce(pixel_bytes, 0)::BIGINT AS pixel_bytes       -- decoded
FROM totals
ORDER BY is_total ASC NULLS LAST, collection ASC NULLS LAST, band ASC NULLS LAST;
