-- name: stac_assets
-- kind: schema
-- grain: one row per item and TIFF asset
-- reads: nothing
-- The STAC description of an asset. Item properties ("eo:cloud_cover", ...) follow `end_datetime`, one column each.
CREATE TABLE stac_assets (
    collection VARCHAR,                   -- STAC collection id, or NULL
    item_id VARCHAR,                      -- STAC item id
    asset VARCHAR,                        -- STAC asset key
    datetime TIMESTAMP WITH TIME ZONE,    -- UTC
    start_datetime TIMESTAMP WITH TIME ZONE,  -- UTC
    end_datetime TIMESTAMP WITH TIME ZONE,    -- UTC, inclusive as in STAC
    geometry GEOMETRY,                    -- footprint of the item in OGC:CRS84 (lon, lat)
    bbox STRUCT(xmin DOUBLE, ymin DOUBLE, xmax DOUBLE, ymax DOUBLE),  -- degrees; bounds of the footprint
    href VARCHAR,                         -- as published, absolute, never signed
    mirror VARCHAR,                       -- path or URL that is read instead of href, or NULL
    media_type VARCHAR,                   -- from STAC
    asset_title VARCHAR,                  -- for people
    asset_roles VARCHAR[],                -- "data", "reflectance", ...
    band_lists VARCHAR,                   -- JSON: facts of STAC and of the catalog about its bands
    proj VARCHAR                          -- JSON: code, shape, transform, file_size; on S3 also requester_pays, region, endpoint
);
