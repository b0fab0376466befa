-- name: stac_assets
-- kind: query
-- grain: one row per item and TIFF asset
-- reads: assets, items, boxes (item_no and bbox), properties
-- Each asset with its STAC description, in the order of the source.
SELECT
    i.collection::VARCHAR AS collection,
    i.item_id::VARCHAR AS item_id,
    a.asset::VARCHAR AS asset,
    i.datetime::TIMESTAMPTZ AS datetime,                 -- UTC
    i.start_datetime::TIMESTAMPTZ AS start_datetime,     -- UTC
    i.end_datetime::TIMESTAMPTZ AS end_datetime,         -- UTC
    p.* EXCLUDE (item_no),                               -- item properties, one column each
    ST_GeomFromWKB(i.geometry) AS geometry,              -- OGC:CRS84
    b.bbox AS bbox,                                      -- degrees
    a.href::VARCHAR AS href,
    a.mirror::VARCHAR AS mirror,
    f.media_type::VARCHAR AS media_type,
    f.title::VARCHAR AS asset_title,
    f.roles::VARCHAR[] AS asset_roles,
    a.band_lists::VARCHAR AS band_lists,
    a.proj::VARCHAR AS proj
FROM assets AS a
JOIN found_assets AS f ON f.asset_no = a.asset_no
JOIN items AS i ON i.item_no = a.item_no
JOIN boxes AS b ON b.item_no = a.item_no
JOIN asset_properties AS p ON p.item_no = a.item_no
ORDER BY a.asset_no
