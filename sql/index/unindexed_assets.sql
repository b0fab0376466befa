-- name: unindexed_assets
-- kind: query
-- grain: one row per row of the source
-- reads: $1, a table, view or path with an href column and without headers
-- Assets without headers, numbered in the order of the source, with all columns that a source may give.
SELECT *
FROM (
    SELECT
        row_number() OVER () - 1 AS rst_no,
        *
    FROM query_table($1)
)
UNION ALL BY NAME
SELECT
    NULL AS collection,
    NULL AS item_id,
    NULL AS asset,
    NULL AS datetime,
    NULL AS start_datetime,
    NULL AS end_datetime,
    NULL AS geometry,
    NULL AS mirror,
    NULL AS bands,
    NULL AS band_lists,          -- JSON: lists of STAC band objects, as in stac_search
    NULL AS proj                 -- JSON: code, shape and transform, as in STAC
WHERE false
