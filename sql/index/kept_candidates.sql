-- name: kept_candidates
-- kind: query
-- grain: one row per asset that has a row in an older index
-- reads: unread_assets, items, old_index; $folder: the base folder of relative hrefs of the older index
-- Rows of an older index. The new index takes them over if their files are unchanged.
WITH
old_rows AS (
    SELECT
        file_row_number AS row_no,
        collection,
        item_id,
        asset,
        coalesce(mirror, href) AS href,
        ST_AsWKB(geometry) AS geometry,
        etag,
        file_size,
        epoch_us(last_modified) / 1000000.0 AS last_modified    -- seconds since 1970
    FROM old_index
    WHERE etag IS NOT NULL OR last_modified IS NOT NULL
)
SELECT
    a.asset_no,
    a.read_href,
    o.row_no,
    o.item_id,
    o.asset,
    o.etag,
    o.file_size,                                                -- bytes
    o.last_modified
FROM unread_assets AS a
JOIN items AS i USING (item_no)
JOIN old_rows AS o
    ON o.item_id = i.item_id
    AND o.asset = a.asset
    AND o.collection IS NOT DISTINCT FROM i.collection
WHERE o.href IN (coalesce(a.mirror, a.href), replace(coalesce(a.mirror, a.href), $folder, ''))
    AND (i.geometry IS NULL OR i.geometry = o.geometry)
-- A copied index may contain a row twice.
QUALIFY row_number() OVER (PARTITION BY a.asset_no ORDER BY o.row_no) = 1
