-- name: assets
-- kind: view
-- grain: one row per file of one item's asset
-- reads: found_assets, items
-- What sources found, each file once: overlapping globs and pages name some of them twice.
CREATE OR REPLACE VIEW assets AS
SELECT
    a.asset_no,
    a.item_no,
    a.asset,
    a.href,
    a.mirror,
    a.read_href,
    a.band_lists,
    a.proj
FROM found_assets AS a
JOIN items AS i USING (item_no)
QUALIFY row_number() OVER (PARTITION BY i.collection, i.item_id, a.asset, a.href ORDER BY a.asset_no) = 1
