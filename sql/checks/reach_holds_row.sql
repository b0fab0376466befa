-- name: reach_holds_row
-- kind: check
-- grain: one row per asset
-- reads: asset_index
-- reach contains the bbox and the times. Reads compare their area and period with reach.
SELECT
    collection,
    item_id,
    asset,
    'reach is ' || coalesce(reach::VARCHAR, 'missing') || ', bbox ' || coalesce(bbox::VARCHAR, 'missing') AS problem
FROM asset_index
WHERE (
    reach.xmin <= coalesce(bbox.xmin, '-inf'::DOUBLE)
    AND reach.ymin <= coalesce(bbox.ymin, '-inf'::DOUBLE)
    AND reach.xmax >= coalesce(bbox.xmax, 'inf'::DOUBLE)
    AND reach.ymax >= coalesce(bbox.ymax, 'inf'::DOUBLE)
    AND (reach.start_us <= epoch_us(coalesce(start_datetime, datetime)) OR coalesce(start_datetime, datetime) IS NULL)
    AND (reach.end_us >= epoch_us(coalesce(end_datetime, datetime)) OR coalesce(end_datetime, datetime) IS NULL)
) IS NOT TRUE
ORDER BY collection, item_id, asset
