-- name: zonal_stats
-- kind: table macro
-- grain: one row per zone, band, and item, day or all items
-- reads: an index, as read_tiles does, and zones: a table, a view or a Parquet path
-- Statistics of the pixels in zones, with the columns of the zones. Each tile is fetched and decoded once, however many zones it lies in.
CREATE OR REPLACE MACRO zonal_stats(
    index,
    zones,
    bands := NULL,
    stats := NULL,
    geometry_column := NULL,
    geometry_crs := NULL,
    crs := NULL,
    datetime := NULL,
    level := NULL,
    resolution := NULL,
    gsd := NULL,
    expressions := NULL,
    valid_where := NULL,
    weights := 'none',
    all_touched := false,
    by := 'item',
    scale := false,
    scales := NULL,
    offsets := NULL,
    statistics := NULL,
    on_error := 'raise'
) AS TABLE
SELECT given.* EXCLUDE (rst_row, rst_key), found.* EXCLUDE (rst_row, rst_key)
FROM (
    -- The statistics that are asked for. Python checks their names and raises the error.
    SELECT COLUMNS(lambda rst_name:
        rst_name IN ('rst_row', 'rst_key', 'item_id', 'collection', 'datetime', 'band', 'items', 'scale', 'offset', 'error')
        OR list_contains(coalesce(TRY_CAST(stats AS VARCHAR[]), ['count', 'sum', 'mean', 'stdev', 'min', 'max']), rst_name))
    FROM _rst_zonal_source
    WHERE _call = encode('rst_' || to_json({
        'index': index::VARCHAR,
        -- A failing cast leaves no constant, and therefore no arguments. Python checks the arguments and raises the error.
        'bands': TRY_CAST(bands AS VARCHAR[]),
        'geometry': NULL::VARCHAR,
        'bbox': NULL::VARCHAR,
        'crs': 'OGC:CRS84',
        'datetime': datetime::VARCHAR,
        'level': level::VARCHAR,
        'resolution': resolution::VARCHAR,
        'gsd': gsd::VARCHAR,
        'scales': to_json(scales),
        'offsets': to_json(offsets),
        'given': {'bands': bands::VARCHAR, 'bbox': NULL::VARCHAR, 'crs': crs::VARCHAR},
        'on_error': on_error::VARCHAR,
        'settings': _rst_settings(),
        'own': {
            'zones': zones::VARCHAR,
            'stats': to_json(stats)::VARCHAR,
            'geometry': geometry_column::VARCHAR,
            'crs': geometry_crs::VARCHAR,
            'expressions': to_json(expressions)::VARCHAR,
            'valid_where': valid_where::VARCHAR,
            'weights': weights::VARCHAR,
            'all_touched': all_touched::VARCHAR,
            'by': "by"::VARCHAR,
            'scale': scale::VARCHAR,
            'statistics': statistics::VARCHAR
        }
    })::VARCHAR)
    UNION ALL BY NAME
    FROM _rst_no_rows()
) AS found
LEFT JOIN (SELECT row_number() OVER () - 1 AS rst_row, hash(given) AS rst_key, * FROM query_table(_rst_given_table('zones', zones)) AS given) AS given
    ON given.rst_row = found.rst_row
WHERE _rst_is_same_row('zones', found.rst_key, given.rst_key)
    AND _rst_sees_the_same(index, zones := zones, statistics := statistics);
