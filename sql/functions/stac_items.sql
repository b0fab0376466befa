-- name: stac_items
-- kind: table macro
-- grain: one row per item and TIFF asset
-- reads: STAC documents: Items, ItemCollections, NDJSON, stac-geoparquet, and static Catalogs and Collections with their links
-- The assets of STAC documents.
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
