-- name: levels_are_there
-- kind: check
-- grain: one row per asset
-- reads: asset_index
-- Level 0 has the size of the image, and no overview is larger.
SELECT
    collection,
    item_id,
    asset,
    'the sizes of its levels are ' || coalesce(list_transform(levels, lambda rst_level: rst_level.width || ' x ' || rst_level.height)::VARCHAR, 'missing') AS problem
FROM asset_index
WHERE levels IS NULL
    OR len(levels) = 0
    OR levels[1].width <> width
    OR levels[1].height <> height
    OR len(list_filter(levels, lambda rst_level: rst_level.width < 1 OR rst_level.height < 1 OR rst_level.width > width OR rst_level.height > height)) > 0
ORDER BY collection, item_id, asset
