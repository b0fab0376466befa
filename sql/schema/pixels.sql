-- name: pixels
-- kind: schema
-- grain: one row per pixel and band; with layout wide, one row per pixel
-- reads: nothing
-- The columns of read_pixels, in order. With layout wide, a column for each of the bands, named as in `bands`, takes the place of the last two; `_call` is hidden.
CREATE TABLE pixels (
    item_id VARCHAR,                -- STAC item id
    collection VARCHAR,             -- STAC collection id, or NULL
    datetime TIMESTAMP WITH TIME ZONE,  -- of the item, UTC
    x DOUBLE,                       -- of the centre of the pixel, in the CRS of the file
    y DOUBLE,                       -- of the centre of the pixel, in the CRS of the file
    crs VARCHAR,                    -- of the file
    band VARCHAR,                   -- the requested name of the band: "red", "visual:red"
    value DOUBLE,                   -- as stored, or physical with scale
    _call BLOB
);
