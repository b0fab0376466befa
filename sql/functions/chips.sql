-- name: chips
-- kind: table macro
-- grain: one row per item and window
-- reads: an index, as read_tiles does
-- Windows of one size as rows: what a training set is made of. The function fetches nothing but for valid_share, the share of pixels that are valid in all bands.
CREATE OR REPLACE MACRO chips(
    index,
    size := NULL,
    stride := NULL,
    bands := NULL,
    geometry := NULL,
    bbox := NULL,
    geometry_crs := 'OGC:CRS84',
    crs := NULL,
    datetime := NULL,
    level := NULL,
    resolution := NULL,
    gsd := NULL,
    edges := 'drop',
    where_valid := NULL,
    valid_where := NULL,
    statistics := NULL
) AS TABLE
SELECT
    found.item_id,
    found.collection,
    found.datetime,
    found.level,
    found.row_off,
    found.col_off,
    found.height,
    found.width,
    found.bounds,
    found.crs,
    ST_GeomFromWKB(found.footprint) AS footprint,
    found.valid_share
FROM _rst_chip_source AS found
WHERE found._call = encode('rst_' || to_json({
    'index': index::VARCHAR,
    -- A failing cast leaves no constant, and therefore no arguments. Python checks the arguments and raises the error.
    'bands': TRY_CAST(bands AS VARCHAR[]),
    'geometry': geometry::VARCHAR,
    'bbox': TRY_CAST(bbox AS DOUBLE[])::VARCHAR,
    'crs': coalesce(geometry_crs::VARCHAR, 'OGC:CRS84'),
    'datetime': datetime::VARCHAR,
    'level': level::VARCHAR,
    'resolution': resolution::VARCHAR,
    'gsd': gsd::VARCHAR,
    'given': {'bands': bands::VARCHAR, 'bbox': bbox::VARCHAR, 'crs': crs::VARCHAR},
    'settings': _rst_settings(),
    'own': {
        'size': to_json(size)::VARCHAR,
        'stride': to_json(stride)::VARCHAR,
        'edges': edges::VARCHAR,
        'where_valid': where_valid::VARCHAR,
        'valid_where': valid_where::VARCHAR,
        'statistics': statistics::VARCHAR
    }
})::VARCHAR)
AND _rst_sees_the_same(index, statistics := statistics);
