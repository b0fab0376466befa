-- name: indexed_files
-- kind: query
-- grain: one row per file of an index, and per version of the file
-- reads: asset_index
-- The files of an index: their paths or URLs, and the facts that show whether a file was rewritten.
SELECT
    coalesce(mirror, href)::VARCHAR AS href,
    any_value(item_id)::VARCHAR AS item_id,
    any_value(asset)::VARCHAR AS asset,
    etag::VARCHAR AS etag,
    file_size::BIGINT AS file_size,                                  -- bytes
    epoch_us(last_modified::TIMESTAMPTZ) / 1000000.0 AS last_modified    -- seconds since 1970
FROM asset_index
GROUP BY ALL
