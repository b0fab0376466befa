-- name: superseded
-- kind: query
-- grain: one row per file of an item that a later version replaces
-- reads: assets, items, versions (item_no, and when the item changed)
-- Files of older versions of items. Versions share collection, item_id and an asset. The version with the latest change stays; among equal versions, the last one found stays.
WITH
keys AS (
    SELECT
        a.asset_no,
        a.item_no,
        hash(i.collection, i.item_id, a.asset) AS key_hash
    FROM assets AS a
    JOIN items AS i USING (item_no)
),
-- Memory holds only the hashes of all files, and the texts of the few files that share a hash.
shared AS (
    SELECT key_hash
    FROM keys
    GROUP BY key_hash
    HAVING count(*) > 1
),
doubtful AS (
    SELECT asset_no
    FROM keys
    WHERE key_hash IN (SELECT key_hash FROM shared)
),
older AS (
    SELECT a.item_no
    FROM assets AS a
    JOIN items AS i USING (item_no)
    JOIN versions AS v USING (item_no)
    WHERE a.asset_no IN (SELECT asset_no FROM doubtful)
    QUALIFY row_number() OVER (
        PARTITION BY i.collection, i.item_id, a.asset
        ORDER BY v.changed_at DESC NULLS LAST, a.asset_no DESC
    ) > 1
)
-- All files of an old version are dropped, so no item mixes versions.
SELECT asset_no
FROM assets
WHERE item_no IN (SELECT item_no FROM older)
