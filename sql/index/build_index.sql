-- name: build_index
-- kind: index
-- grain: one row per asset: one TIFF file of one STAC item
-- reads: headers (one row per file that was read), positions, assets, items, properties
-- The rows of an index, in the order of asset_no: each asset with its description by the source and its TIFF header.
-- Variables limit the rows that are joined at a time, because DuckDB holds all rows of a join in memory.
SELECT
    o.position AS asset_no,                              -- position of the row; not written
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
    h.formats AS formats,
    h.levels AS levels,
    h.file_size::BIGINT AS file_size,                    -- bytes
    h.etag::VARCHAR AS etag,
    h.last_modified::TIMESTAMPTZ AS last_modified,
    h.indexed_at::TIMESTAMPTZ AS indexed_at,
    {
        'xmin': coalesce(h.bbox.xmin, '-inf'::DOUBLE),
        'ymin': coalesce(h.bbox.ymin, '-inf'::DOUBLE),
        'xmax': coalesce(h.bbox.xmax, 'inf'::DOUBLE),
        'ymax': coalesce(h.bbox.ymax, 'inf'::DOUBLE),
        'start_us': epoch_us(coalesce(i.start_datetime, i.datetime)::TIMESTAMPTZ),
        'end_us': epoch_us(coalesce(i.end_datetime, i.datetime)::TIMESTAMPTZ)
    } AS reach
FROM headers AS h
JOIN positions AS o USING (asset_no)
JOIN assets AS a USING (asset_no)
JOIN items AS i USING (item_no)
JOIN properties AS p USING (item_no)
WHERE h.asset_no BETWEEN getvariable('rst_first_asset_no') AND getvariable('rst_last_asset_no')
    AND i.item_no BETWEEN getvariable('rst_first_item_no') AND getvariable('rst_last_item_no')
