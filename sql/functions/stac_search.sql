-- name: stac_search
-- kind: table macro
-- grain: one row per item and TIFF asset
-- reads: a STAC API, or a dataset of the catalog
-- The assets that a search of a STAC API finds. The result for the same arguments is cached for a minute.
CREATE OR REPLACE MACRO stac_search(
    api,
    collections := NULL,
    bbox := NULL,
    intersects := NULL,
    datetime := NULL,
    ids := NULL,
    filter := NULL,
    sortby := NULL,
    max_items := NULL,
    page_items := 100,
    alternate := NULL
) AS TABLE
SELECT *
FROM read_parquet(_rst_stac_search_file(to_json({
    'api': api::VARCHAR,
    'collections': collections::VARCHAR[],
    'bbox': (bbox::DOUBLE[])::VARCHAR,
    'intersects': intersects::VARCHAR,
    'datetime': datetime::VARCHAR,
    'ids': ids::VARCHAR[],
    'filter': to_json(filter)::JSON,
    'sortby': sortby::VARCHAR[],
    'max_items': max_items::BIGINT,
    'page_items': page_items::BIGINT,
    'alternate': to_json(alternate)::JSON
})::VARCHAR));
