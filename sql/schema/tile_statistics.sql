-- name: tile_statistics
-- kind: schema
-- grain: one row per file, level and band
-- reads: nothing
-- The columns of a file of statistics, in order. Lists have one element per tile, row by row; an element is NULL where the pixels of the tile must be read.
CREATE TABLE tile_statistics (
    collection VARCHAR,             -- STAC collection id, or NULL
    item_id VARCHAR,                -- STAC item id
    asset VARCHAR,                  -- STAC asset key
    band INTEGER,                   -- 1-based number of the band in the file
    band_name VARCHAR,              -- name of the band: "red", "visual:red"
    level INTEGER,                  -- 0 is full resolution, n the nth overview
    href VARCHAR,                   -- of the file, as published
    etag VARCHAR,                   -- of the file that was read, or NULL
    file_size BIGINT,               -- bytes of the file that was read, or NULL
    last_modified TIMESTAMP WITH TIME ZONE,  -- of the file that was read, UTC, or NULL
    dtype VARCHAR,                  -- numpy name, "uint16"
    nodata VARCHAR,                 -- value that marks invalid pixels, or NULL
    mask VARCHAR,                   -- what marks invalid pixels: none, mask, nodata or alpha
    width INTEGER,                  -- of the level, in pixels
    height INTEGER,                 -- of the level, in pixels
    tile_width INTEGER,             -- in pixels; tiles at the right edge may be narrower
    tile_height INTEGER,            -- in pixels; tiles at the bottom edge may be lower
    valid_count INTEGER[],          -- valid pixels that are numbers
    integers STRUCT(min BIGINT[], max BIGINT[], sum BIGINT[], sumsq BIGINT[]),  -- of integers, exact
    floats STRUCT(min DOUBLE[], max DOUBLE[], sum DOUBLE[], sumsq DOUBLE[], squares DOUBLE[]),  -- of floats; squares are those of deviations from the mean of the tile
    classes BIGINT[],               -- values of the band, ascending; NULL without a histogram
    class_counts INTEGER[]          -- how often each class occurs in a tile, tile by tile
);
