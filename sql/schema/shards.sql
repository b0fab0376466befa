-- name: shards
-- kind: schema
-- grain: one row per shard
-- reads: nothing
-- The columns of shards, in order. `_call` carries its arguments and is hidden.
CREATE TABLE shards (
    name VARCHAR,                   -- number with leading zeros: the name of its file
    number INTEGER,                 -- from 0
    files BIGINT,                   -- bands and levels of files that it reads
    tiles BIGINT,                   -- rows of read_tiles
    bytes BIGINT,                   -- of the tiles in the files, each once
    plan_hash VARCHAR,              -- of the plan of all shards: files, their versions and tiles
    shard BLOB,                     -- what read_shard takes
    _call BLOB
);
