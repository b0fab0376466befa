-- name: read_shard_chips
-- kind: table macro
-- grain: one row per chip; those of one item follow each other
-- reads: one shard with chips: a BLOB of shards, or the path or URL of a file of `rasteret-sql shard`
-- The chips of one shard, with all bands of each. The index is not read. Without pixels and mask, the function fetches nothing.
CREATE OR REPLACE MACRO read_shard_chips(
    shard
) AS TABLE
SELECT * EXCLUDE (_call)
FROM _rst_shard_chip_source
WHERE _call = encode('rst_' || to_json({
    'path': CASE WHEN typeof(shard) = 'BLOB' THEN NULL ELSE shard::VARCHAR END,
    'base64': CASE WHEN typeof(shard) = 'BLOB' THEN to_base64(TRY_CAST(shard AS BLOB)) END,
    'settings': _rst_settings()
})::VARCHAR);
