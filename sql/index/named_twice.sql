-- name: named_twice
-- kind: query
-- grain: one row per repeated file
-- reads: found_assets, items
-- Files that sources name more than once, as overlapping globs and pages do.
WITH
keys AS (
    SELECT
        a.asset_no,
        hash(i.collection, i.item_id, a.asset, a.href) AS key_hash
    FROM found_assets AS a
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
)
SELECT a.asset_no
FROM found_assets AS a
JOIN items AS i USING (item_no)
WHERE a.asset_no IN (SELECT asset_no FROM doubtful)
QUALIFY row_number() OVER (PARTITION BY i.collection, i.item_id, a.asset, a.href ORDER BY a.asset_no) > 1
