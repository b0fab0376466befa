-- name: zonal_stats
-- kind: schema
-- grain: one row per zone, band, and item, day or all items
-- reads: nothing
-- The columns that zonal_stats adds to those of the zones, in order; p0 to p100 follow variety. The first two and `_call` are hidden.
CREATE TABLE zonal_stats (
    rst_row BIGINT,                 -- number of the zone, 0-based
    rst_key UBIGINT,                -- hash of the row of the zone
    item_id VARCHAR,                -- STAC item id; NULL for days and all items
    collection VARCHAR,             -- STAC collection id, or NULL
    datetime TIMESTAMP WITH TIME ZONE,  -- of the item, UTC; or the beginning of the day; NULL for all items
    band VARCHAR,                   -- the requested name of the band: "red", "visual:red"
    items BIGINT,                   -- files of the band that the zone touches
    count DOUBLE,                   -- valid pixels in the zone, or with weights the sum of the parts of pixels that it covers
    sum DOUBLE,                     -- of values, times weights
    sumsq DOUBLE,                   -- of squared values, times weights
    mean DOUBLE,                    -- sum / count
    stdev DOUBLE,                   -- of the population
    min DOUBLE,                     -- smallest value
    max DOUBLE,                     -- largest value
    median DOUBLE,                  -- exact, as p50
    majority DOUBLE,                -- the most frequent value, or the smallest of them
    minority DOUBLE,                -- the least frequent value, or the smallest of them
    variety BIGINT,                 -- different values
    scale DOUBLE,                   -- physical = stored * scale + offset; NULL if unknown, or if files differ
    "offset" DOUBLE,                -- see scale
    error VARCHAR,                  -- with on_error := 'null': the reason why there are no statistics
    _call BLOB
);
