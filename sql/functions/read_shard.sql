-- name: read_shard
-- kind: table macro
-- grain: one row per tile and band, in the order of read_tiles
-- reads: one shard: a BLOB of shards, or the path or URL of a file of `rasteret-sql shard`
-- The tiles of one shard, with the columns of read_tiles. The index is not read.
CREATE OR REPLACE MACRO read_shard(
    shard,
    on_error := 'raise'
) AS TABLE
SELECT * EXCLUDE (_call) REPLACE (
    -- As in read_tiles: DuckDB 1.5 leaves comparisons with DOUBLE columns to Arrow, where NaN compares otherwise.
    CASE WHEN isnan(nodata) THEN 'nan'::DOUBLE ELSE nodata END AS nodata,
    CASE WHEN isnan(scale) THEN 'nan'::DOUBLE ELSE scale END AS scale,
    CASE WHEN isnan("offset") THEN 'nan'::DOUBLE ELSE "offset" END AS "offset"
)
FROM _rst_shard_tile_source
WHERE _call = encode('rst_' || to_json({
    'path': CASE WHEN typeof(shard) = 'BLOB' THEN NULL ELSE shard::VARCHAR END,
    'base64': CASE WHEN typeof(shard) = 'BLOB' THEN to_base64(TRY_CAST(shard AS BLOB)) END,
    'on_error': on_error::VARCHAR,
    'settings': _rst_settings()
})::VARCHAR);
