-- name: datasets
-- kind: schema
-- grain: one row per dataset of the catalog
-- reads: nothing
-- The columns of the catalog of datasets.
CREATE TABLE datasets (
    id VARCHAR,                           -- as stac_search and `rasteret-sql build` take it
    title VARCHAR,                        -- for people
    endpoint VARCHAR,                     -- STAC API, or the table that names its files
    collection VARCHAR,                   -- STAC collection id
    licence VARCHAR,                      -- SPDX id, or 'proprietary'
    attribution VARCHAR,                  -- what users of the data must write
    authentication VARCHAR,               -- 'none', 'requester-pays' or 'planetary-computer'
    needs VARCHAR,                        -- what users set before they read
    bands MAP(VARCHAR, VARCHAR),          -- names that `bands` takes, and the asset or asset:band that they name
    notes VARCHAR,                        -- what to know before use
    licence_url VARCHAR,                  -- the terms
    file VARCHAR                          -- where the entry stands
);
