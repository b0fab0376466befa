-- name: tiles
-- kind: schema
-- grain: one row per tile and band
-- reads: nothing
-- The columns of read_tiles, in order. `_call` carries its arguments and is hidden.
CREATE TABLE tiles (
    collection VARCHAR,             -- STAC collection id, or NULL
    item_id VARCHAR,                -- STAC item id
    asset VARCHAR,                  -- STAC asset key
    band INTEGER,                   -- 1-based number of the band in the file
    band_name VARCHAR,              -- the requested name of the band: "red", "visual:red"
    datetime TIMESTAMP WITH TIME ZONE,  -- UTC
    level INTEGER,                  -- 0 is full resolution, n the nth overview
    tile_row INTEGER,               -- counted from the top, 0-based
    tile_col INTEGER,               -- counted from the left, 0-based
    bounds STRUCT(xmin DOUBLE, ymin DOUBLE, xmax DOUBLE, ymax DOUBLE),  -- in the CRS of the raster
    crs VARCHAR,                    -- authority code, or WKT2 if the CRS has no code
    transform DOUBLE[],             -- affine (a, b, c, d, e, f) of the tile, pixel corner to CRS
    dtype VARCHAR,                  -- numpy name, "uint16"
    width INTEGER,                  -- pixels; less than a whole tile at the right edge of the image
    height INTEGER,                 -- pixels; less than a whole tile at the bottom edge of the image
    nodata DOUBLE,                  -- NULL if the band has none; rounded, but mask is exact
    scale DOUBLE,                   -- physical = stored * scale + offset; NULL if unknown
    "offset" DOUBLE,                -- see scale
    unit VARCHAR,                   -- of physical values
    href VARCHAR,                   -- of the file, as published
    pixels BLOB,                    -- (height, width) in C order, little-endian
    mask BLOB,                      -- (height, width), 1 is valid and 0 is invalid; NULL if all pixels are valid
    error VARCHAR,                  -- with on_error := 'null': the reason why pixels is NULL
    _call BLOB
);
