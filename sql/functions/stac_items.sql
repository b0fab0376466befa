-- name: stac_items
-- kind: table macro
-- grain: one row per item and TIFF asset
-- reads: STAC documents: Items, ItemCollections, static Catalogs and Collections, which are crawled, NDJSON, stac-geoparquet
-- What STAC documents say of their assets.
CREATE OR REPLACE MACRO stac_items(
    source,
    collection := NULL,
    on_error := 'raise',
    alternate := NULL
) AS TABLE
SELECT *
FROM read_parquet(_rst_stac_items_file(to_json({
    'source': source::VARCHAR,
    'collection': collection::VARCHAR,
    'on_error': on_error::VARCHAR,
    'alternate': to_json(alternate)::JSON
})::VARCHAR));
