-- name: assets
-- kind: view
-- grain: one row per file of one item's asset
-- reads: found_assets, dropped
-- The assets of all sources, without dropped assets: files named twice, and files of older versions of items.
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
WHERE a.asset_no NOT IN (SELECT asset_no FROM dropped)
