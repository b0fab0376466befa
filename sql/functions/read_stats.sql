-- name: read_stats
-- kind: table macro
-- grain: one row per tile and band
-- reads: statistics of tiles: a Parquet file of build_stats, or a table or view
-- The statistics of each tile, one row per tile. The function fetches no pixels. Statistics are NULL where the pixels of a tile must be read.
CREATE OR REPLACE MACRO read_stats(statistics) AS TABLE
SELECT
    collection,
    item_id,
    asset,
    band,
    band_name,
    level,
    (rst_tile // rst_across)::INTEGER AS tile_row,
    (rst_tile % rst_across)::INTEGER AS tile_col,
    valid_count,
    valid_count / (
        least(tile_width, width - (rst_tile % rst_across) * tile_width)
        * least(tile_height, height - (rst_tile // rst_across) * tile_height)
    ) AS valid_share,
    coalesce(rst_integers.min::DOUBLE, rst_floats.min) AS min,
    coalesce(rst_integers.max::DOUBLE, rst_floats.max) AS max,
    coalesce(rst_integers.sum::DOUBLE, rst_floats.sum) AS sum,
    coalesce(rst_integers.sumsq::DOUBLE, rst_floats.sumsq) AS sumsq,
    CASE WHEN valid_count > 0 THEN coalesce(rst_integers.sum::DOUBLE, rst_floats.sum) / valid_count END AS mean,
    CASE
        WHEN valid_count > 0
            THEN coalesce(
                -- HUGEINT holds the products of numbers of 64 bits.
                sqrt((valid_count::HUGEINT * rst_integers.sumsq - rst_integers.sum::HUGEINT * rst_integers.sum)::DOUBLE) / valid_count,
                sqrt(rst_floats.squares / valid_count)
            )
    END AS stdev,
    CASE
        WHEN classes IS NOT NULL AND valid_count IS NOT NULL
            THEN map_from_entries(list_filter(
                list_zip(classes, class_counts[rst_tile * len(classes) + 1:(rst_tile + 1) * len(classes)]),
                lambda rst_pair: rst_pair[2] > 0
            ))
    END AS classes,
    href
FROM (
    SELECT
        * EXCLUDE (valid_count, integers, floats),
        (width + tile_width - 1) // tile_width AS rst_across,
        unnest(range(len(valid_count))) AS rst_tile,
        unnest(valid_count) AS valid_count,
        {
            'min': unnest(integers.min),
            'max': unnest(integers.max),
            'sum': unnest(integers.sum),
            'sumsq': unnest(integers.sumsq)
        } AS rst_integers,
        {
            'min': unnest(floats.min),
            'max': unnest(floats.max),
            'sum': unnest(floats.sum),
            'squares': unnest(floats.squares),
            'sumsq': unnest(floats.sumsq)
        } AS rst_floats
    FROM query_table(_rst_statistics_table(statistics))
);
