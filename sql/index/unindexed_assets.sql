-- name: unindexed_assets
-- kind: query
-- grain: one row per row of the source
-- reads: $1, a table, view or path with an href column and without headers
-- Assets without headers, numbered in the order of the source, with all columns that a source may give.
SELECT
    row_number() OVER () - 1 AS rst_no,
    *
FROM rasteret_sql.main._rst_asset_columns($1)
