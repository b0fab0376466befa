-- name: datasets
-- kind: schema
-- grain: one row per dataset of the catalog
-- reads: nothing
-- The columns of the catalog of datasets.
CREATE TABLE datasets (
    id VARCHAR,                           -- argument of stac_search and `rasteret-sql build`
    title VARCHAR,                        -- for people
    endpoint VARCHAR,                     -- STAC API, or the table of its files
    collection VARCHAR,                   -- STAC collection id
    licence VARCHAR,                      -- SPDX id, or 'proprietary'
    attribution VARCHAR,                  -- text that users of the data must publish
    authentication VARCHAR,               -- 'none', 'requester-pays' or 'planetary-computer'
    needs VARCHAR,                        -- settings that users need before a read
    bands MAP(VARCHAR, VARCHAR),          -- names that `bands` takes, asset keys too, and the asset or asset:band of each
    notes VARCHAR,                        -- facts to know before use
    licence_url VARCHAR,                  -- the terms
    file VARCHAR                          -- path of the entry
);
