-- name: refreshed_files
-- kind: query
-- grain: one row
-- reads: old_files, new_files (rows of indexed_files)
-- The numbers of new, changed, kept and missing files after a refresh.
WITH
compared AS (
    SELECT
        o.href IS NOT NULL AS was_there,
        n.href IS NOT NULL AS is_there,
        -- A value that is missing on one side does not count as a difference.
        coalesce(o.etag <> n.etag, false)
            OR coalesce(o.file_size <> n.file_size, false)
            OR (o.etag IS NULL AND coalesce(o.last_modified <> n.last_modified, false)) AS differs
    FROM (SELECT href, any_value(etag) AS etag, any_value(file_size) AS file_size, any_value(last_modified) AS last_modified FROM old_files GROUP BY href) AS o
    FULL JOIN (SELECT href, any_value(etag) AS etag, any_value(file_size) AS file_size, any_value(last_modified) AS last_modified FROM new_files GROUP BY href) AS n
        ON n.href = o.href
)
SELECT
    count_if(NOT was_there) AS new,
    count_if(was_there AND is_there AND differs) AS changed,
    count_if(was_there AND is_there AND NOT differs) AS kept,
    count_if(NOT is_there) AS gone
FROM compared
