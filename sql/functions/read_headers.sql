-- name: read_headers
-- kind: table macro
-- grain: one row per row of the source, and each row is one TIFF file
-- reads: a table, view, CTE or Parquet path with an href column, and the headers of the files at href
-- The headers of TIFF files, as rows of an index. Conditions on columns of the source prune before headers are fetched.
CREATE OR REPLACE MACRO read_headers(
    source,
    on_error := NULL,
    scales := NULL,
    offsets := NULL,
    nodata := NULL,
    period_time := NULL
) AS TABLE
WITH
rst_assets AS (
    SELECT
        collection::VARCHAR AS collection,
        coalesce(item_id::VARCHAR, _rst_file_stem(href::VARCHAR)) AS item_id,
        coalesce(asset::VARCHAR, 'data') AS asset,
        _rst_item_time(
            _rst_utc(datetime, 'datetime'), _rst_utc(start_datetime, 'start_datetime'),
            _rst_utc(end_datetime, 'end_datetime'), period_time::VARCHAR
        ) AS datetime,
        _rst_utc(start_datetime, 'start_datetime') AS start_datetime,
        _rst_utc(end_datetime, 'end_datetime') AS end_datetime,
        geometry,
        mirror,
        bands,
        band_lists,
        proj,
        -- COLUMNS must match at least one column, so href is included.
        COLUMNS(lambda rst_name: lower(rst_name) = 'href' OR NOT list_contains(_rst_index_columns(), lower(rst_name)))
    FROM _rst_asset_columns(source)
),
rst_read AS (
    SELECT
        * EXCLUDE (geometry, mirror, bands, band_lists, proj, href),
        _rst_headers(
            href, mirror, collection, item_id, asset, geometry, bands, band_lists, proj, on_error,
            to_json({'scales': to_json(scales), 'offsets': to_json(offsets), 'nodata': to_json(nodata)})
        ) AS rst_header
    FROM rst_assets
)
SELECT
    * EXCLUDE (rst_header),
    ST_GeomFromWKB(rst_header.geometry) AS geometry,    -- OGC:CRS84
    unnest(rst_header.columns),
    {
        'xmin': coalesce(rst_header.columns.bbox.xmin, '-inf'::DOUBLE),
        'ymin': coalesce(rst_header.columns.bbox.ymin, '-inf'::DOUBLE),
        'xmax': coalesce(rst_header.columns.bbox.xmax, 'inf'::DOUBLE),
        'ymax': coalesce(rst_header.columns.bbox.ymax, 'inf'::DOUBLE),
        'start_us': epoch_us(coalesce(start_datetime, datetime)),
        'end_us': epoch_us(coalesce(end_datetime, datetime))
    } AS reach
FROM rst_read
-- The function raises an error unless on_error says otherwise.
WHERE on_error::VARCHAR IS DISTINCT FROM 'skip' OR rst_header.columns.levels IS NOT NULL;
