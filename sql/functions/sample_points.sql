-- name: sample_points
-- kind: table macro
-- grain: one row per point, item and band, for points inside the image
-- reads: an index, as read_tiles does, and points: a table, a view or a Parquet path
-- The values of pixels at points, with the columns of the points. Each tile is fetched and decoded once, however many points lie in it.
CREATE OR REPLACE MACRO sample_points(
    index,
    points,
    bands := NULL,
    geometry_column := NULL,
    x_column := NULL,
    y_column := NULL,
    geometry_crs := NULL,
    crs := NULL,
    datetime := NULL,
    level := NULL,
    resolution := NULL,
    gsd := NULL,
    expressions := NULL,
    valid_where := NULL,
    method := 'nearest',
    match := 'all',
    time_column := NULL,
    window_size := 1,
    max_distance_pixels := 0,
    scale := false,
    scales := NULL,
    offsets := NULL,
    on_error := 'raise'
) AS TABLE
SELECT given.* EXCLUDE (rst_row, rst_key), found.* EXCLUDE (rst_row, rst_key, _call)
FROM (
    FROM _rst_sample_source
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
            'points': points::VARCHAR,
            'geometry': geometry_column::VARCHAR,
            'x': x_column::VARCHAR,
            'y': y_column::VARCHAR,
            'time': time_column::VARCHAR,
            'crs': geometry_crs::VARCHAR,
            'expressions': to_json(expressions)::VARCHAR,
            'valid_where': valid_where::VARCHAR,
            'method': method::VARCHAR,
            'match': match::VARCHAR,
            'window_size': window_size::VARCHAR,
            'max_distance_pixels': max_distance_pixels::VARCHAR,
            'scale': scale::VARCHAR
        }
    })::VARCHAR)
    UNION ALL BY NAME
    FROM _rst_no_rows()
) AS found
LEFT JOIN (SELECT row_number() OVER () - 1 AS rst_row, hash(given) AS rst_key, * FROM query_table(_rst_given_table('points', points)) AS given) AS given
    ON given.rst_row = found.rst_row
WHERE _rst_is_same_row('points', found.rst_key, given.rst_key) AND _rst_sees_the_same(index, points := points);
