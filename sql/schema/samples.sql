-- name: samples
-- kind: schema
-- grain: one row per point, item and band
-- reads: nothing
-- The columns that sample_points adds to those of the points, in order. The first two and `_call` are hidden.
CREATE TABLE samples (
    rst_row BIGINT,                 -- number of the point, 0-based
    rst_key UBIGINT,                -- hash of the row of the point
    item_id VARCHAR,                -- STAC item id
    collection VARCHAR,             -- STAC collection id, or NULL
    datetime TIMESTAMP WITH TIME ZONE,  -- of the item, UTC
    band VARCHAR,                   -- the requested name of the band: "red", "visual:red"
    value DOUBLE,                   -- NULL if the pixel is masked or nodata
    window_values DOUBLE[],         -- the pixels around the point, row by row, NULL if masked or outside of the image; NULL for a window_size of 1
    scale DOUBLE,                   -- physical = stored * scale + offset; NULL if unknown
    "offset" DOUBLE,                -- see scale
    error VARCHAR,                  -- with on_error := 'null': the reason why value is NULL
    _call BLOB
);
