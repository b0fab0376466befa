-- name: bbox_is_sane
-- kind: check
-- grain: one row per asset
-- reads: asset_index
-- Each footprint has a bbox in lon/lat, and its minima do not exceed its maxima.
SELECT
    collection,
    item_id,
    asset,
    'bbox is ' || coalesce(bbox::VARCHAR, 'missing') AS problem
FROM asset_index
WHERE (geometry IS NULL) <> (bbox IS NULL)
    OR bbox.xmin > bbox.xmax
    OR bbox.ymin > bbox.ymax
    OR bbox.xmin < -180
    OR bbox.xmax > 180
    OR bbox.ymin < -90.001
    OR bbox.ymax > 90.001
ORDER BY collection, item_id, asset
