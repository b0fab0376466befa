-- name: shard_chips
-- kind: schema
-- grain: one row per chip
-- reads: nothing
-- The columns of read_shard_chips, in order. `_call` carries its arguments and is hidden.
CREATE TABLE shard_chips (
    chip BIGINT,                    -- row in the table of all chips, from 0
    item_id VARCHAR,                -- STAC item id
    row_off INTEGER,                -- first row of the window, in pixels of the level
    col_off INTEGER,                -- first column of the window
    height INTEGER,                 -- pixels
    width INTEGER,                  -- pixels
    bands VARCHAR[],                -- names of the bands, in the order of pixels
    nodata DOUBLE[],                -- of each band; NULL if it has none
    dtype VARCHAR,                  -- numpy name of the values
    pixels BLOB,                    -- (band, height, width) in C order, little-endian; nodata or 0 outside the image
    mask BLOB,                      -- (band, height, width), 1 is valid and 0 is invalid
    _call BLOB
);
