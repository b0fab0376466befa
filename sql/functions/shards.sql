-- name: shards
-- kind: table macro
-- grain: one row per shard
-- reads: an index, as read_tiles does, and chips: windows of items, a table, a view or a Parquet path
-- The plan of a read, cut where files and requests end into pieces of about as many bytes. Each piece is a BLOB that read_shard reads without the index, in any process. Nothing is fetched but for tiles_where without statistics.
CREATE OR REPLACE MACRO shards(
    index,
    n,
    bands := NULL,
    geometry := NULL,
    bbox := NULL,
    geometry_crs := 'OGC:CRS84',
    crs := NULL,
    datetime := NULL,
    level := NULL,
    resolution := NULL,
    scales := NULL,
    offsets := NULL,
    statistics := NULL,
    tiles_where := NULL,
    chips := NULL,
    chip_size := NULL
) AS TABLE
SELECT * EXCLUDE (_call)
FROM _rst_shard_source
WHERE _call = encode('rst_' || to_json({
    'index': index::VARCHAR,
    -- A failing cast leaves no constant, and therefore no arguments. Python checks the arguments and raises the error.
    'bands': TRY_CAST(bands AS VARCHAR[]),
    'geometry': geometry::VARCHAR,
    'bbox': TRY_CAST(bbox AS DOUBLE[])::VARCHAR,
    'crs': coalesce(geometry_crs::VARCHAR, 'OGC:CRS84'),
    'datetime': datetime::VARCHAR,
    'level': level::VARCHAR,
    'resolution': resolution::VARCHAR,
    'scales': to_json(scales),
    'offsets': to_json(offsets),
    'given': {'bands': bands::VARCHAR, 'bbox': bbox::VARCHAR, 'crs': crs::VARCHAR},
    'settings': _rst_settings(),
    'own': {'n': n::VARCHAR, 'statistics': statistics::VARCHAR, 'tiles_where': tiles_where::VARCHAR, 'chips': chips::VARCHAR, 'chip_size': to_json(chip_size)::VARCHAR}
})::VARCHAR)
AND _rst_sees_the_same(index, statistics := statistics, chips := chips);
