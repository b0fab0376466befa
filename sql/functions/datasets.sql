-- name: datasets
-- kind: table macro
-- grain: one row per dataset of the catalog
-- reads: the files of the catalog, and the files of a folder of your own
-- The catalog of datasets: their endpoints, names of bands, licences, attribution and authentication.
CREATE OR REPLACE MACRO datasets(folder := NULL) AS TABLE
SELECT
    d.id,
    d.title,
    d.endpoint,
    d.collection,
    d.licence,
    d.attribution,
    d.authentication,
    d.needs,
    d.bands,
    d.notes,
    d.licence_url,
    d.file
FROM (
    SELECT unnest(from_json(
        _rst_datasets_json(coalesce(folder::VARCHAR, '')),
        '[{"id": "VARCHAR", "title": "VARCHAR", "endpoint": "VARCHAR", "collection": "VARCHAR", "licence": "VARCHAR",
           "attribution": "VARCHAR", "authentication": "VARCHAR", "needs": "VARCHAR", "bands": "MAP(VARCHAR, VARCHAR)",
           "notes": "VARCHAR", "licence_url": "VARCHAR", "file": "VARCHAR"}]'
    )) AS d
)
ORDER BY d.id ASC NULLS LAST;
