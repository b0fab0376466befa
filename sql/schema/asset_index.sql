-- name: asset_index
-- kind: schema
-- grain: one row per asset: one TIFF file of one STAC item
-- reads: nothing
-- The columns of an index, in order; item properties ("eo:cloud_cover", ...) follow `end_datetime`.
CREATE TABLE asset_index (
    collection VARCHAR,                   -- STAC collection id, or NULL
    item_id VARCHAR NOT NULL,             -- STAC item id, or what a path pattern gave
    asset VARCHAR NOT NULL,               -- STAC asset key
    datetime TIMESTAMP WITH TIME ZONE,    -- UTC
    start_datetime TIMESTAMP WITH TIME ZONE,  -- UTC
    end_datetime TIMESTAMP WITH TIME ZONE,    -- UTC, inclusive as in STAC
    geometry GEOMETRY,                    -- footprint in OGC:CRS84 (lon, lat)
    bbox STRUCT(xmin DOUBLE, ymin DOUBLE, xmax DOUBLE, ymax DOUBLE),  -- degrees, -180 to 180; holds the footprint and all pixels
    href VARCHAR NOT NULL,                -- as published, never signed
    mirror VARCHAR,                       -- where the bytes are read instead of from href, or NULL
    bands STRUCT(
        name VARCHAR,                     -- "B04", "red"
        band INTEGER,                     -- 1-based number in the file
        common_name VARCHAR,              -- of the STAC eo extension
        description VARCHAR,              -- as the TIFF has it
        nodata DOUBLE,                    -- NULL where the band has none
        scale DOUBLE,                     -- physical = stored * scale + offset
        "offset" DOUBLE,                  -- see scale
        unit VARCHAR,                     -- of physical values
        is_alpha BOOLEAN,                 -- the band is the alpha channel
        nodata_integer DECIMAL(20, 0)     -- nodata of 64-bit integers that DOUBLE rounds; otherwise NULL
    )[],
    dtype VARCHAR,                        -- numpy name, "uint16"
    crs VARCHAR,                          -- authority code, or WKT2 where there is none
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
    cog_layout VARCHAR[],                 -- what GDAL's COG ghost area promises, 'BLOCK_LEADER=SIZE_AS_UINT4', ...; or NULL
    notes VARCHAR[],                      -- what of the file was left out, and why; NULL where nothing
    formats STRUCT(
        byte_order VARCHAR,               -- "little" or "big"
        dtype VARCHAR,                    -- numpy name of decoded samples
        bits_per_sample INTEGER,          -- in the file; may be fewer than the dtype has
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
        codec_parameters INTEGER[]        -- of further tags that a codec needs
    )[],                                  -- of levels and masks, each once
    levels STRUCT(
        width INTEGER,                    -- pixels
        height INTEGER,                   -- pixels
        format INTEGER,                   -- which of formats, from 1
        tile_byte_counts BIGINT[],        -- plane by plane, row by row; 0: sparse
        run_offsets BIGINT[],             -- bytes; of every 64 tiles, where the first that is not sparse begins
        tile_gaps BIGINT[],               -- bytes from the end of a tile to the next of its run: one for all, or one per tile
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
    etag VARCHAR,                         -- of the file that was indexed; reads send it as If-Match
    last_modified TIMESTAMP WITH TIME ZONE,  -- of the file that was indexed, where the store says it
    indexed_at TIMESTAMP WITH TIME ZONE,  -- when its header was read
    reach STRUCT(
        xmin DOUBLE,                      -- degrees; of bbox, and endless without one, as are the next three
        ymin DOUBLE,
        xmax DOUBLE,
        ymax DOUBLE,
        start_us BIGINT,                  -- microseconds since 1970, UTC; of start_datetime, or else of datetime
        end_us BIGINT                     -- of end_datetime, or else of datetime; inclusive
    )                                     -- what the area and period of a read are compared with, so that row groups are skipped
);
