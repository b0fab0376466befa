-- name: times_in_order
-- kind: check
-- grain: one row per asset
-- reads: asset_index
-- A period does not end before it starts.
SELECT
    collection,
    item_id,
    asset,
    'it starts at ' || epoch_us(start_datetime) || ' and ends at ' || epoch_us(end_datetime) || ' microseconds since 1970' AS problem
FROM asset_index
WHERE start_datetime > end_datetime
ORDER BY collection, item_id, asset
