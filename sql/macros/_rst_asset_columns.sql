-- name: _rst_asset_columns
-- kind: table macro
-- grain: one row per row of the source
-- reads: a table, view, CTE or path with an href column and without headers
-- Assets without headers, with all columns that a source may give; NULL where it gives none.
CREATE OR REPLACE MACRO _rst_asset_columns(source) AS TABLE
FROM query_table(source)
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
WHERE false;
