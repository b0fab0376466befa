-- name: chips
-- kind: schema
-- grain: one row per item and window
-- reads: nothing
-- The columns of chips, in order. `_call` carries its arguments and is hidden.
CREATE TABLE chips (
    item_id VARCHAR,                -- STAC item id
    collection VARCHAR,             -- STAC collection id, or NULL
    datetime TIMESTAMP WITH TIME ZONE,  -- of the item, UTC
    level INTEGER,                  -- 0 is full resolution, n the nth overview
    row_off INTEGER,                -- first row of the window, in pixels of the level
    col_off INTEGER,                -- first column of the window
    height INTEGER,                 -- pixels; less than size with edges := 'keep' at the bottom edge of the image
    width INTEGER,                  -- pixels; less than size with edges := 'keep' at the right edge of the image
    bounds STRUCT(xmin DOUBLE, ymin DOUBLE, xmax DOUBLE, ymax DOUBLE),  -- in the CRS of the raster; NULL without a transform
    crs VARCHAR,                    -- authority code, or WKT2 if the CRS has no code
    footprint BLOB,                 -- outline in OGC:CRS84 (lon, lat); NULL if it has none
    valid_share DOUBLE,             -- share of pixels that are valid in all bands, 0 to 1
    _call BLOB
);
