-- name: read_pixels
-- kind: table macro
-- grain: one row per valid pixel and band; with layout wide, one row per pixel
-- reads: an index, as read_tiles does
-- The valid pixels in an area and period as rows, in long form or with a column for each band. Rows stream: a query holds some tiles at a time.
CREATE OR REPLACE MACRO read_pixels(
    index,
    bands := NULL,
    geometry := NULL,
    bbox := NULL,
    geometry_crs := 'OGC:CRS84',
    crs := NULL,
    datetime := NULL,
    level := NULL,
    resolution := NULL,
    gsd := NULL,
    expressions := NULL,
    valid_where := NULL,
    layout := 'long',
    all_touched := false,
    scale := false,
    scales := NULL,
    offsets := NULL,
    statistics := NULL,
    on_error := 'raise'
) AS TABLE
SELECT
    -- No row: this SELECT names the columns.
    NULL::VARCHAR AS item_id,
    NULL::VARCHAR AS collection,
    NULL::TIMESTAMP WITH TIME ZONE AS datetime,
    NULL::DOUBLE AS x,
    NULL::DOUBLE AS y,
    NULL::VARCHAR AS crs,
    unnest(from_json('{}', _rst_pixel_columns(bands, expressions, layout)))
WHERE false
UNION ALL
SELECT
    found.item_id,
    found.collection,
    found.datetime,
    found.x,
    found.y,
    found.crs,
    COLUMNS(lambda rst_name: CASE
        WHEN layout = 'wide' AND len(_rst_pixel_names(bands, expressions)) > 0
            THEN list_contains(list_transform(range(len(_rst_pixel_names(bands, expressions))), lambda rst_number: 'b' || (rst_number + 1)), rst_name)
        ELSE rst_name IN ('band', 'value')
    END)
FROM _rst_pixel_source AS found
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
    'scales': to_json(scales),
    'offsets': to_json(offsets),
    'given': {'bands': bands::VARCHAR, 'bbox': bbox::VARCHAR, 'crs': crs::VARCHAR},
    'settings': _rst_settings(),
    'own': {
        'expressions': to_json(expressions)::VARCHAR,
        'valid_where': valid_where::VARCHAR,
        'layout': layout::VARCHAR,
        'all_touched': all_touched::VARCHAR,
        'scale': scale::VARCHAR,
        'on_error': on_error::VARCHAR,
        'statistics': statistics::VARCHAR
    }
})::VARCHAR)
AND _rst_sees_the_same(index, statistics := statistics);
