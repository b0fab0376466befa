-- name: _rst_headers
-- kind: scalar macro
-- grain: one value
-- reads: the files at href or mirror
-- The Python function behind read_headers. It can be replaced without changing the macros of each connection.
CREATE OR REPLACE MACRO _rst_headers(href, mirror, collection, item_id, asset, geometry, bands, band_lists, proj, on_error, given) AS
    _rstpy_read_headers({
        'href': href::VARCHAR,
        'mirror': mirror::VARCHAR,
        'collection': collection::VARCHAR,
        'item_id': item_id::VARCHAR,
        'asset': asset::VARCHAR,
        'geometry': geometry::VARCHAR,
        'bands': to_json(bands)::VARCHAR,
        'band_lists': band_lists::VARCHAR,
        'proj': proj::VARCHAR,
        'on_error': on_error::VARCHAR,
        'given': given::VARCHAR,
        'build': getvariable('rasteret_sql_build')::VARCHAR
    });
