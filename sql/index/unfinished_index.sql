-- name: unfinished_index
-- kind: query
-- grain: one row per asset that a killed build read
-- reads: $headers, $assets, $items: the staged files of the build
-- Headers that a killed build read within a day, as rows of an index.
SELECT
    h.* REPLACE (ST_GeomFromWKB(h.geometry) AS geometry),
    h.asset_no AS file_row_number,
    i.collection,
    i.item_id,
    a.asset,
    a.href,
    a.mirror
FROM $headers AS h
JOIN $assets AS a USING (asset_no)
JOIN $items AS i USING (item_no)
WHERE h.indexed_at > now() - INTERVAL 1 DAY
