-- name: asset_index
-- kind: schema
-- grain: one row per asset: one TIFF file of one STAC item
-- reads: nothing
-- The columns of an index, in order. Item properties ("eo:cloud_cover", ...) follow `end_datetime`.
CREATE TABLE asset_index (
    collection VARCHAR,                   -- STAC collection id, or NULL
    item_id VARCHAR NOT NULL,             -- STAC item id, or the id from a path pattern
    asset VARCHAR NOT NULL,               -- STAC asset key
    datetime TIMESTAMP WITH TIME ZONE,    -- UTC
    start_datetime TIMESTAMP WITH TIME ZONE,  -- UTC
    end_datetime TIMESTAMP WITH TIME ZONE,    -- UTC, inclusive as in STAC
    geometry GEOMETRY,                    -- footprint in OGC:CRS84 (lon, lat)
    bbox STRUCT(xmin DOUBLE, ymin DOUBLE, xmax DOUBLE, ymax DOUBLE),  -- degrees, -180 to 180; contains the footprint and all pixels
    href VARCHAR NOT NULL,                -- as published, never signed
    mirror VARCHAR,                       -- path or URL that is read instead of href, or NULL
    bands STRUCT(
        name VARCHAR,                     -- "B04", "red"
        band INTEGER,                     -- 1-based number in the file
        common_name VARCHAR,              -- from the STAC eo extension
        description VARCHAR,              -- from the TIFF
        nodata DOUBLE,                    -- NULL if the band has none
        scale DOUBLE,                     -- physical = stored * scale + offset
        "offset" DOUBLE,                  -- see scale
        unit VARCHAR,                     -- of physical values
        is_alpha BOOLEAN,                 -- the band is the alpha channel
        nodata_integer DECIMAL(20, 0)     -- nodata of 64-bit integers that DOUBLE rounds; otherwise NULL
    )[],
    dtype VARCHAR,                        -- numpy name, "uint16"
    crs VARCHAR,                          -- authority code, or WKT2 if the CRS has no code
    transform DOUBLE[],                   -- affine (a, b, c, d, e, f), pixel corner to CRS
    width INTEGER,                        -- pixels, level 0
    height INTEGER,                       -- pixels, level 0
    samples_per_pixel INTEGER,            -- bands in the file
    planar BOOLEAN,                       -- one plane of tiles per band
    compression VARCHAR,                  -- of level 0: "deflate", "lzw", ...
    predictor INTEGER,                    -- of level 0; TIFF Predictor
    photometric VARCHAR,                  -- of level 0: "minisblack", "ycbcr", ...
    byte_order VARCHAR,                   -- "little" or "big"
    bigtiff BOOLEAN,                      -- 64-bit offsets
    cog_layout VARCHAR[],                 -- declarations of GDAL's COG ghost area, 'BLOCK_LEADER=SIZE_AS_UINT4', ...; or NULL
    notes VARCHAR[],                      -- omitted parts of the file, and the reasons; or NULL
    formats STRUCT(
        byte_order VARCHAR,               -- "little" or "big"
        dtype VARCHAR,                    -- numpy name of decoded samples
        bits_per_sample INTEGER,          -- in the file; may be fewer than in the dtype
        samples_per_pixel INTEGER,        -- over all planes
        planar BOOLEAN,                   -- one plane of tiles per band
        compression INTEGER,              -- TIFF Compression
        predictor INTEGER,                -- TIFF Predictor
        photometric INTEGER,              -- TIFF PhotometricInterpretation
        fill_order INTEGER,               -- TIFF FillOrder
        tile_width INTEGER,               -- pixels
        tile_height INTEGER,              -- pixels
        tiled BOOLEAN,                    -- false: strips
        jpeg_tables BLOB,                 -- TIFF JPEGTables, or NULL
        ycbcr_subsampling INTEGER[],      -- TIFF YCbCrSubSampling: horizontal, vertical
        codec_parameters INTEGER[]        -- values of further tags that a codec needs
    )[],                                  -- each format of levels and masks, once
    levels STRUCT(
        width INTEGER,                    -- pixels
        height INTEGER,                   -- pixels
        format INTEGER,                   -- 1-based position in formats
        tile_byte_counts BIGINT[],        -- plane by plane, row by row; 0: sparse
        run_offsets BIGINT[],             -- bytes; for each 64 tiles, the offset of the first tile that is not sparse
        tile_gaps BIGINT[],               -- bytes from the end of a tile to the next tile of its run: one gap for all, or one per tile
        mask STRUCT(
            width INTEGER,
            height INTEGER,
            format INTEGER,
            tile_byte_counts BIGINT[],
            run_offsets BIGINT[],
            tile_gaps BIGINT[]
        )                                 -- internal mask of this level, or NULL
    )[],                                  -- level 0 is full resolution, then the overviews
    file_size BIGINT,                     -- bytes
    etag VARCHAR,                         -- of the indexed file; reads compare it, size and time of change
    last_modified TIMESTAMP WITH TIME ZONE,  -- of the indexed file, if the store provides it
    indexed_at TIMESTAMP WITH TIME ZONE,  -- time when the header was read
    reach STRUCT(
        xmin DOUBLE,                      -- degrees; from bbox, and infinite without a bbox, like the next three
        ymin DOUBLE,
        xmax DOUBLE,
        ymax DOUBLE,
        start_us BIGINT,                  -- microseconds since 1970, UTC; from start_datetime, or else from datetime
        end_us BIGINT                     -- from end_datetime, or else from datetime; inclusive
    )                                     -- bounds and times that reads compare with their area and period, to skip row groups
);
