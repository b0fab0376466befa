-- NDVI of each field and scene: the mean over the pixels whose centres lie in the field and that are valid in both bands.
WITH
tiles AS (
    SELECT
        item_id,
        datetime,
        crs,
        tile_row,
        tile_col,
        transform,
        width,
        height,
        any_value(rst_to_list(pixels, dtype)) FILTER (band_name = 'red') AS red,
        any_value(rst_to_list(pixels, dtype)) FILTER (band_name = 'nir') AS nir
    FROM read_tiles('{{ ref("s2_index") }}', bands := ['red', 'nir'], bbox := {{ var('area') }})
    GROUP BY ALL
),
windows AS (
    -- Rows and columns of the tile from the first (inclusive) to the last (exclusive) whose centres lie in the field.
    SELECT
        f.field_id,
        t.*,
        greatest(0, ceil((f.xmin - t.transform[3]) / t.transform[1] - 0.5))::BIGINT AS first_col,
        least(t.width, ceil((f.xmax - t.transform[3]) / t.transform[1] - 0.5))::BIGINT AS end_col,
        greatest(0, ceil((f.ymax - t.transform[6]) / t.transform[5] - 0.5))::BIGINT AS first_row,
        least(t.height, ceil((f.ymin - t.transform[6]) / t.transform[5] - 0.5))::BIGINT AS end_row
    FROM tiles AS t
    JOIN {{ ref('fields') }} AS f USING (crs)
),
pixels AS (
    SELECT
        field_id,
        item_id,
        datetime,
        crs,
        tile_row,
        tile_col,
        flatten(list_transform(range(first_row, end_row), lambda r: red[r * width + first_col + 1 : r * width + end_col])) AS red,
        flatten(list_transform(range(first_row, end_row), lambda r: nir[r * width + first_col + 1 : r * width + end_col])) AS nir
    FROM windows
    WHERE first_col < end_col AND first_row < end_row
),
ratios AS (
    SELECT
        field_id,
        item_id,
        datetime,
        crs,
        tile_row,
        tile_col,
        list_transform(
            list_filter(list_zip(red, nir), lambda p: p[1] > 0 AND p[2] > 0),    -- 0 is nodata
            lambda p: (p[2] - p[1]) / (p[2] + p[1])
        ) AS ndvi
    FROM pixels
),
fields_of_scenes AS (
    -- In the order of the tiles, so that a sum of floating-point numbers is the same in each run.
    SELECT
        field_id,
        item_id,
        any_value(datetime) AS datetime,
        any_value(crs) AS crs,
        flatten(list(ndvi ORDER BY tile_row, tile_col)) AS ndvi
    FROM ratios
    GROUP BY field_id, item_id
)
SELECT
    field_id,
    item_id,
    datetime,
    crs,
    len(ndvi) AS pixels,
    list_avg(ndvi) AS ndvi,
    list_min(ndvi) AS ndvi_min,
    list_max(ndvi) AS ndvi_max
FROM fields_of_scenes
WHERE len(ndvi) > 0
ORDER BY field_id, datetime, item_id
