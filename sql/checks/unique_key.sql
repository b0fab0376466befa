-- name: unique_key
-- kind: check
-- grain: one row per key that several files share
-- reads: asset_index
-- Every (collection, item_id, asset) names one file.
WITH
-- Memory holds only the hashes of all rows, and the texts of the few rows that share a hash.
shared AS (
    SELECT hash(collection, item_id, asset) AS rst_key_hash
    FROM asset_index
    GROUP BY rst_key_hash
    HAVING count(*) > 1
)
SELECT
    collection,
    item_id,
    asset,
    count(*) AS files,
    'the files ' || array_to_string(list(href ORDER BY href)[1:3], ', ') || ' share it' AS problem
FROM asset_index
WHERE hash(collection, item_id, asset) IN (SELECT rst_key_hash FROM shared)
GROUP BY collection, item_id, asset
HAVING count(*) > 1
ORDER BY collection, item_id, asset
