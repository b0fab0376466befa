-- name: build_index
-- kind: index
-- grain: one row per asset: one TIFF file of one STAC item
-- reads: headers (one row per file that was read), assets, items, properties
-- The rows of an index: what the source said of each asset, and what its TIFF header says; near things lie together.
WITH
grid AS (
    SELECT
        10 AS bits,                  -- of each axis: 1024 by 1024 cells
        360.0 / (1 << 10) AS cell_width,    -- degrees
        180.0 / (1 << 10) AS cell_height,   -- degrees
        (1 << 10) - 1 AS last_cell
),
centres AS (
    SELECT
        h.asset_no,
        g.bits,
        greatest(0, least(g.last_cell, floor(((h.bbox.xmin + h.bbox.xmax) / 2 + 180.0) / g.cell_width)))::BIGINT AS cell_col,
        greatest(0, least(g.last_cell, floor(((h.bbox.ymin + h.bbox.ymax) / 2 + 90.0) / g.cell_height)))::BIGINT AS cell_row
    FROM headers AS h, grid AS g
),
places AS (
    SELECT
        asset_no,
        list_sum(list_transform(
            range(bits),
            lambda bit: (((cell_col >> bit) & 1) << (2 * bit)) | (((cell_row >> bit) & 1) << (2 * bit + 1))
        )) AS place              -- Z-order of the cell of the centre of bbox
    FROM centres
)
SELECT
    i.collection::VARCHAR AS collection,
    i.item_id::VARCHAR AS item_id,
    a.asset::VARCHAR AS asset,
    i.datetime::TIMESTAMPTZ AS datetime,                 -- UTC
    i.start_datetime::TIMESTAMPTZ AS start_datetime,     -- UTC
    i.end_datetime::TIMESTAMPTZ AS end_datetime,         -- UTC
    p.* EXCLUDE (item_no),                               -- item properties, one column each
    ST_GeomFromWKB(h.geometry) AS geometry,              -- OGC:CRS84
    h.bbox AS bbox,                                      -- degrees
    a.href::VARCHAR AS href,
    a.mirror::VARCHAR AS mirror,
    h.bands AS bands,
    h.dtype::VARCHAR AS dtype,
    h.crs::VARCHAR AS crs,
    h.transform::DOUBLE[] AS transform,
    h.width::INTEGER AS width,                           -- pixels
    h.height::INTEGER AS height,                         -- pixels
    h.samples_per_pixel::INTEGER AS samples_per_pixel,
    h.planar::BOOLEAN AS planar,
    h.compression::VARCHAR AS compression,
    h.predictor::INTEGER AS predictor,
    h.photometric::VARCHAR AS photometric,
    h.byte_order::VARCHAR AS byte_order,
    h.bigtiff::BOOLEAN AS bigtiff,
    h.cog_layout::VARCHAR[] AS cog_layout,
    h.notes::VARCHAR[] AS notes,
    h.levels AS levels,
    h.file_size::BIGINT AS file_size,                    -- bytes
    h.etag::VARCHAR AS etag,
    h.last_modified::TIMESTAMPTZ AS last_modified,
    h.indexed_at::TIMESTAMPTZ AS indexed_at
FROM headers AS h
JOIN places AS c USING (asset_no)
JOIN assets AS a USING (asset_no)
JOIN items AS i USING (item_no)
JOIN properties AS p USING (item_no)
ORDER BY
    collection,
    c.place,
    coalesce(i.datetime, i.start_datetime),
    i.item_id,
    a.asset
