-- name: index_info
-- kind: query
-- grain: one row
-- reads: asset_index
-- The contents of an index, in numbers.
WITH
totals AS (
    SELECT
        count(*) AS row_count,
        count(DISTINCT (collection, item_id)) AS items,
        min(coalesce(start_datetime, datetime)) AS first_time,
        max(coalesce(end_datetime, datetime)) AS last_time,
        [min(bbox.xmin), min(bbox.ymin), max(bbox.xmax), max(bbox.ymax)] AS bbox,    -- degrees
        sum(list_sum(list_transform(levels, lambda rst_level:
            len(rst_level.tile_byte_counts) + coalesce(len(rst_level.mask.tile_byte_counts), 0)
        )))::BIGINT AS tiles,
        sum(list_sum(list_transform(levels, lambda rst_level:
            coalesce(list_sum(rst_level.tile_byte_counts), 0) + coalesce(list_sum(rst_level.mask.tile_byte_counts), 0)
        )))::BIGINT AS tile_bytes
    FROM asset_index
)
SELECT
    row_count,
    items,
    strftime(make_timestamp(epoch_us(first_time)), '%Y-%m-%dT%H:%M:%SZ') AS first,    -- UTC, in any time zone of the session
    strftime(make_timestamp(epoch_us(last_time)), '%Y-%m-%dT%H:%M:%SZ') AS last,
    bbox,
    tiles,
    tile_bytes                       -- compressed, as stored in the files
FROM totals
