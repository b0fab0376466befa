-- name: many_files
-- kind: query
-- grain: one row per asset
-- reads: $files: the files of an index, each row with the path of its file as filename
-- The rows of many files as one index. A relative href is resolved against the folder of its file.
SELECT * EXCLUDE (filename) REPLACE (
    CASE WHEN regexp_matches(href, '^([A-Za-z][A-Za-z0-9+.\-]*://|/|[A-Za-z]:[\\/]|~)') THEN href
        ELSE regexp_replace(filename, '[^/]*$', '') || href
    END AS href,
    CASE WHEN regexp_matches(mirror, '^([A-Za-z][A-Za-z0-9+.\-]*://|/|[A-Za-z]:[\\/]|~)') THEN mirror
        ELSE regexp_replace(filename, '[^/]*$', '') || mirror
    END AS mirror
)
FROM $files
