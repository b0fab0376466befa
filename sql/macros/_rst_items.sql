-- name: _rst_items
-- kind: table macro
-- grain: one row per item: a collection and an item_id
-- reads: an index
-- The rows of items. Only this macro may call Python helpers.
CREATE OR REPLACE MACRO _rst_items(
    index,
    geometry := NULL,
    bbox := NULL,
    crs := 'OGC:CRS84',
    datetime := NULL
) AS TABLE
WITH
rst_search AS MATERIALIZED (
    SELECT
        CASE
            WHEN bbox IS NOT NULL AND geometry IS NOT NULL
                THEN error('area: got both bbox and geometry, expected one of them; leave one out')
            WHEN bbox IS NOT NULL AND TRY_CAST(bbox AS DOUBLE[]) IS NULL
                THEN error('bbox: got ' || bbox::VARCHAR || ', expected four finite numbers [xmin, ymin, xmax, ymax]')
            WHEN bbox IS NOT NULL THEN _rst_project(_rst_bbox_parts(TRY_CAST(bbox AS DOUBLE[]), crs), crs, 'OGC:CRS84')
            WHEN geometry IS NOT NULL THEN _rst_project(_rstpy_geometry_parts(geometry::VARCHAR, crs), crs, 'OGC:CRS84')
        END AS area,
        -- A wrong CRS is an error without an area, too.
        crs IS NOT NULL
            AND _rst_is_usual_session()
            AND (datetime IS NULL OR _rst_datetime_range(datetime::VARCHAR).start_us IS NOT NULL) AS is_valid
),
rst_in_area AS NOT MATERIALIZED (
    SELECT
        -- The casts equal the casts of database/schema.py.
        index_of_schema_2.* REPLACE (
            index_of_schema_2.collection::VARCHAR AS collection,
            index_of_schema_2.item_id::VARCHAR AS item_id,
            index_of_schema_2.asset::VARCHAR AS asset,
            CASE WHEN typeof(index_of_schema_2.datetime) IN ('TIMESTAMP WITH TIME ZONE', 'TIMESTAMPTZ_NS') THEN TRY_CAST(index_of_schema_2.datetime AS TIMESTAMP WITH TIME ZONE) ELSE _rst_utc(index_of_schema_2.datetime, 'datetime') END AS datetime,
            index_of_schema_2.bands::STRUCT(name VARCHAR, band INTEGER, common_name VARCHAR, description VARCHAR, nodata DOUBLE, scale DOUBLE, "offset" DOUBLE, unit VARCHAR, is_alpha BOOLEAN, nodata_integer DECIMAL(20, 0))[] AS bands,
            index_of_schema_2.crs::VARCHAR AS crs,
            index_of_schema_2.file_size::BIGINT AS file_size,
            index_of_schema_2.reach::STRUCT(xmin DOUBLE, ymin DOUBLE, xmax DOUBLE, ymax DOUBLE, start_us BIGINT, end_us BIGINT) AS reach
        )
    FROM query(_rst_index_query(index)) AS index_of_schema_2, rst_search AS s
    WHERE s.is_valid
        -- DuckDB skips row groups by these comparisons, as in _rst_asset_plan. The exact comparison follows.
        AND index_of_schema_2.reach.ymin <= _rst_reach(
            crs,
            TRY_CAST(bbox AS DOUBLE[])[4],
            CASE WHEN geometry IS NOT NULL THEN list_max(list_transform(
                _rstpy_geometry_parts(geometry::VARCHAR, crs), lambda rst_part: rst_part.ymax
            )) END,
            'inf'::DOUBLE
        )
        AND index_of_schema_2.reach.ymax >= _rst_reach(
            crs,
            TRY_CAST(bbox AS DOUBLE[])[2],
            CASE WHEN geometry IS NOT NULL THEN list_min(list_transform(
                _rstpy_geometry_parts(geometry::VARCHAR, crs), lambda rst_part: rst_part.ymin
            )) END,
            '-inf'::DOUBLE
        )
        AND index_of_schema_2.reach.xmin <= _rst_reach(
            crs,
            CASE WHEN TRY_CAST(bbox AS DOUBLE[])[1] <= TRY_CAST(bbox AS DOUBLE[])[3] THEN TRY_CAST(bbox AS DOUBLE[])[3] WHEN bbox IS NOT NULL THEN 'inf'::DOUBLE END,
            CASE WHEN geometry IS NOT NULL THEN list_max(list_transform(
                _rstpy_geometry_parts(geometry::VARCHAR, crs), lambda rst_part: CASE WHEN rst_part.xmin < -180 OR rst_part.xmax > 180 THEN 'inf'::DOUBLE ELSE rst_part.xmax END
            )) END,
            'inf'::DOUBLE
        )
        AND index_of_schema_2.reach.xmax >= _rst_reach(
            crs,
            CASE WHEN TRY_CAST(bbox AS DOUBLE[])[1] <= TRY_CAST(bbox AS DOUBLE[])[3] THEN TRY_CAST(bbox AS DOUBLE[])[1] WHEN bbox IS NOT NULL THEN '-inf'::DOUBLE END,
            CASE WHEN geometry IS NOT NULL THEN list_min(list_transform(
                _rstpy_geometry_parts(geometry::VARCHAR, crs), lambda rst_part: CASE WHEN rst_part.xmin < -180 OR rst_part.xmax > 180 THEN '-inf'::DOUBLE ELSE rst_part.xmin END
            )) END,
            '-inf'::DOUBLE
        )
        AND (datetime IS NULL OR index_of_schema_2.reach.start_us < _rst_period_end(datetime::VARCHAR))
        AND (datetime IS NULL OR index_of_schema_2.reach.end_us >= _rst_period_start(datetime::VARCHAR))
        AND (
            s.area IS NULL
            OR len(list_filter(_rst_turns(s.area), lambda rst_part:
                rst_part.xmin <= index_of_schema_2.reach.xmax AND rst_part.xmax >= index_of_schema_2.reach.xmin
                AND rst_part.ymin <= index_of_schema_2.reach.ymax AND rst_part.ymax >= index_of_schema_2.reach.ymin
            )) > 0
        )
),
rst_found AS (
    FROM rst_in_area
    UNION ALL BY NAME
    -- This part adds no row. It raises the error of an area that touches no asset.
    SELECT NULL::VARCHAR AS item_id
    FROM _rst_outside(index, geometry := geometry, bbox := bbox, crs := crs, datetime := datetime)
    -- Without an area, the optimizer leaves this part out, and the index is read once.
    WHERE (bbox IS NOT NULL OR geometry IS NOT NULL)
        AND (CASE WHEN NOT EXISTS (FROM rst_in_area) THEN error(message) END)::VARCHAR IS NOT NULL
)
SELECT
    f.collection,
    f.item_id,
    -- Times, properties and geometry of the item, in the order of the index. A value is NULL if the assets of an item differ.
    _rst_shared(COLUMNS(lambda rst_name: lower(rst_name) NOT IN (
        'collection', 'item_id', 'asset', 'bbox', 'href', 'mirror', 'bands', 'dtype', 'crs', 'transform', 'width', 'height',
        'samples_per_pixel', 'planar', 'compression', 'predictor', 'photometric', 'byte_order', 'bigtiff', 'cog_layout', 'notes',
        'formats', 'levels', 'file_size', 'etag', 'last_modified', 'indexed_at', 'reach',
        -- Columns of the result; builds call properties of these names "properties:assets" and so on.
        'assets', 'files', 'file_bytes'
    ))) AS "\0",
    {
        'xmin': nullif(min(f.reach.xmin), '-inf'::DOUBLE),
        'ymin': nullif(min(f.reach.ymin), '-inf'::DOUBLE),
        'xmax': nullif(max(f.reach.xmax), 'inf'::DOUBLE),
        'ymax': nullif(max(f.reach.ymax), 'inf'::DOUBLE)
    } AS bbox,
    list(DISTINCT f.asset ORDER BY f.asset ASC NULLS LAST) AS assets,
    -- The names of read_tiles: asset, or asset:band if a file has several bands. A repeated name identifies no band.
    list_sort(list_distinct(flatten(list(CASE
        WHEN len(f.bands) = 1 THEN [f.asset]
        ELSE list_transform(f.bands, lambda rst_band: f.asset || ':' || CASE
            -- If some bands have no name, their numbers name them, and no other band; as in _rst_asset_plan.
            WHEN regexp_full_match(rst_band.name, '[0-9]+')
                AND len(list_distinct(list_transform(f.bands, lambda rst_other: nullif(rst_other.name, '')))) < len(f.bands)
                THEN rst_band.band::VARCHAR
            WHEN rst_band.name != '' AND len(list_filter(f.bands, lambda rst_other: rst_other.name = rst_band.name)) = 1 THEN rst_band.name
            ELSE rst_band.band::VARCHAR
        END)
    END))), 'ASC', 'NULLS LAST') AS bands,
    _rst_shared(f.crs) AS crs,
    count(*) AS files,
    sum(f.file_size)::BIGINT AS file_bytes
FROM rst_found AS f
GROUP BY f.collection, f.item_id
ORDER BY f.collection ASC NULLS LAST, min(f.reach.start_us) ASC NULLS LAST, f.item_id ASC NULLS LAST;
