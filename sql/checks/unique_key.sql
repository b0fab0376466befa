-- name: unique_key
-- kind: check
-- grain: one row per key that more than one file has
-- reads: asset_index
-- Every (collection, item_id, asset) names one file.
SELECT
    collection,
    item_id,
    asset,
    count(*) AS files,
    'the files ' || array_to_string(list(href ORDER BY href)[1:3], ', ') || ' share it' AS problem
FROM asset_index
GROUP BY collection, item_id, asset
HAVING count(*) > 1
ORDER BY collection, item_id, asset
