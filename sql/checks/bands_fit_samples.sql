-- name: bands_fit_samples
-- kind: check
-- grain: one row per asset
-- reads: asset_index
-- Each sample has one band. Bands are numbered from 1, and each has a name.
SELECT
    collection,
    item_id,
    asset,
    'it has ' || coalesce(samples_per_pixel, 0) || ' samples and the bands '
        || coalesce(list_transform(bands, lambda rst_band: rst_band.band || ': ' || coalesce(rst_band.name, '(none)'))::VARCHAR, '(none)') AS problem
FROM asset_index
WHERE bands IS NULL
    OR list_transform(bands, lambda rst_band: rst_band.band::BIGINT) <> range(1, samples_per_pixel + 1)
    OR len(list_filter(bands, lambda rst_band: rst_band.name IS NULL)) > 0
ORDER BY collection, item_id, asset
