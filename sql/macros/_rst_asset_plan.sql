-- name: _rst_asset_plan
-- kind: table macro
-- grain: one row per selected asset, with its selected level, bands and window
-- reads: an index
-- The facts about each file that a read needs. tile_plan turns them into tiles. All levels are included, for callers that choose a level later.
CREATE OR REPLACE MACRO _rst_asset_plan(
    index,
    bands := NULL,
    geometry := NULL,
    bbox := NULL,
    crs := 'OGC:CRS84',
    datetime := NULL,
    level := NULL,
    resolution := NULL,
    resolution_crs := NULL,    -- the CRS whose units resolution has; NULL: the CRS of each raster
    margin := NULL             -- width of a border around the area, in pixels of the level, or of resolution if these are larger
) AS TABLE
WITH
rst_plan_arguments AS MATERIALIZED (
    SELECT
        CASE
            WHEN bbox IS NOT NULL AND geometry IS NOT NULL
                THEN error('area: got both bbox and geometry, expected one of them; leave one out')
            WHEN bbox IS NOT NULL THEN _rst_bbox_parts(TRY_CAST(bbox AS DOUBLE[]), crs)
            WHEN geometry IS NOT NULL THEN _rstpy_geometry_parts(geometry::VARCHAR, crs)
        END AS area,
        CASE
            WHEN level IS NOT NULL AND resolution IS NOT NULL
                THEN error('level: got both level and resolution, expected one of them; leave one out')
            WHEN bbox IS NOT NULL AND TRY_CAST(bbox AS DOUBLE[]) IS NULL
                THEN error('bbox: got ' || bbox::VARCHAR || ', expected four finite numbers [xmin, ymin, xmax, ymax]')
            WHEN bands IS NOT NULL AND TRY_CAST(bands AS VARCHAR[]) IS NULL
                THEN error('bands: got ''' || bands::VARCHAR || ''', expected a list of names: bands := [''' || bands::VARCHAR || ''']')
            WHEN level IS NOT NULL AND coalesce(TRY_CAST(level AS BIGINT) != TRY_CAST(level AS DOUBLE), true)
                THEN error('level: got ' || level::VARCHAR || ', expected a whole number: 0 (full resolution) or more')
            WHEN resolution IS NOT NULL AND TRY_CAST(resolution AS DOUBLE) IS NULL
                THEN error('resolution: got ' || resolution::VARCHAR || ', expected a number')
            WHEN len(TRY_CAST(bands AS VARCHAR[])) = 0 OR len(list_filter(TRY_CAST(bands AS VARCHAR[]), lambda rst_name: rst_name IS NULL)) > 0
                THEN error('bands: got ' || bands::VARCHAR || ', expected names such as [''red'', ''visual:red''], or NULL for all')
            WHEN len(list_distinct(TRY_CAST(bands AS VARCHAR[]))) < len(TRY_CAST(bands AS VARCHAR[]))
                THEN error('bands: got ' || bands::VARCHAR || ', expected each name once; leave the repeated ones out')
            WHEN TRY_CAST(level AS BIGINT) < 0 THEN error('level: got ' || level::VARCHAR || ', expected 0 (full resolution) or more')
            WHEN NOT TRY_CAST(resolution AS DOUBLE) > 0 THEN error('resolution: got ' || resolution::VARCHAR || ', expected a pixel size above 0')
            -- A wrong CRS is an error without an area, too.
            WHEN crs IS NULL OR NOT _rst_is_usual_session() THEN false
            ELSE datetime IS NULL OR _rst_datetime_range(datetime::VARCHAR).start_us IS NOT NULL
        END AS is_valid
),
-- DuckDB's error for a missing column names the table, so the name of the table says which schema it expects.
-- The casts equal the casts of database/schema.py: rows of pandas, tables and folders (collection=2024) have other types.
-- Materialized, because the optimizer takes twice as long for one plan of all CTEs.
indexed AS MATERIALIZED (
    SELECT
        index_of_schema_2.collection::VARCHAR AS collection,
        index_of_schema_2.item_id::VARCHAR AS item_id,
        index_of_schema_2.asset::VARCHAR AS asset,
        coalesce(CASE WHEN typeof(index_of_schema_2.datetime) IN ('TIMESTAMP WITH TIME ZONE', 'TIMESTAMPTZ_NS') THEN TRY_CAST(index_of_schema_2.datetime AS TIMESTAMP WITH TIME ZONE) ELSE _rst_utc(index_of_schema_2.datetime, 'datetime') END, make_timestamptz(index_of_schema_2.reach.start_us::BIGINT), make_timestamptz(index_of_schema_2.reach.end_us::BIGINT)) AS datetime,
        index_of_schema_2.href::VARCHAR AS href,
        index_of_schema_2.mirror::VARCHAR AS mirror,
        index_of_schema_2.etag::VARCHAR AS etag,
        index_of_schema_2.file_size::BIGINT AS file_size,
        index_of_schema_2.cog_layout::VARCHAR[] AS cog_layout,
        index_of_schema_2.crs::VARCHAR AS crs,
        index_of_schema_2.transform::DOUBLE[] AS transform,
        index_of_schema_2.dtype::VARCHAR AS dtype,
        index_of_schema_2.bands::STRUCT(name VARCHAR, band INTEGER, common_name VARCHAR, description VARCHAR, nodata DOUBLE, scale DOUBLE, "offset" DOUBLE, unit VARCHAR, is_alpha BOOLEAN, nodata_integer DECIMAL(20, 0))[] AS bands,
        index_of_schema_2.formats::STRUCT(byte_order VARCHAR, dtype VARCHAR, bits_per_sample INTEGER, samples_per_pixel INTEGER, planar BOOLEAN, compression INTEGER, predictor INTEGER, photometric INTEGER, fill_order INTEGER, tile_width INTEGER, tile_height INTEGER, tiled BOOLEAN, jpeg_tables BLOB, ycbcr_subsampling INTEGER[], codec_parameters INTEGER[])[] AS formats,
        index_of_schema_2.levels::STRUCT(width INTEGER, height INTEGER, format INTEGER, tile_byte_counts BIGINT[], run_offsets BIGINT[], tile_gaps BIGINT[], mask STRUCT(width INTEGER, height INTEGER, format INTEGER, tile_byte_counts BIGINT[], run_offsets BIGINT[], tile_gaps BIGINT[]))[] AS levels,
        index_of_schema_2.reach::STRUCT(xmin DOUBLE, ymin DOUBLE, xmax DOUBLE, ymax DOUBLE, start_us BIGINT, end_us BIGINT) AS reach
    FROM query(_rst_index_query(index)) AS index_of_schema_2, rst_plan_arguments AS a
    WHERE a.is_valid
        -- DuckDB skips row groups by these comparisons, because they compare columns that are never NULL with constants.
        -- The exact comparison follows.
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
            a.area IS NULL
            OR NOT _rst_is_lonlat(crs)
            -- Longitudes may start at -180 or 0, or continue beyond 180.
            OR len(list_filter(_rst_turns(a.area), lambda rst_part:
                rst_part.xmin <= index_of_schema_2.reach.xmax AND rst_part.xmax >= index_of_schema_2.reach.xmin
                AND rst_part.ymin <= index_of_schema_2.reach.ymax AND rst_part.ymax >= index_of_schema_2.reach.ymin
            )) > 0
        )
    UNION ALL
    -- This part adds no row. It raises the error of a wrong argument, even if statistics skip the whole index.
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM rst_plan_arguments AS a
    WHERE NOT a.is_valid
),
sibling_names AS MATERIALIZED (
    -- Some files of an asset describe their bands. Their name of band n also names band n of files with as many bands and no
    -- descriptions.
    SELECT collection, asset, band_count, list({'band': band, 'name': name}) AS names
    FROM (
        SELECT collection, asset, band_count, band, max(name) AS name
        FROM (
            SELECT DISTINCT
                i.collection,
                i.asset,
                len(i.bands) AS band_count,
                b.b.band AS band,
                -- An index names bands without a name by their number.
                nullif(nullif(b.b.name, ''), b.b.band::VARCHAR) AS name
            FROM indexed AS i, unnest(i.bands) AS b(b)
        )
        GROUP BY collection, asset, band_count, band
        HAVING count(DISTINCT name) = 1 AND count(*) > 1
    )
    GROUP BY collection, asset, band_count
),
candidates AS (
    SELECT
        described.*,
        list_transform(described.bands, lambda rst_known: {'band': rst_known.band, 'name': rst_known.name, 'common_name': rst_known.common_name}) AS named
    FROM (
        SELECT i.* REPLACE (
            CASE WHEN s.names IS NULL THEN i.bands ELSE list_transform(i.bands, lambda rst_known: {
                'name': CASE
                    WHEN rst_known.name IS NULL OR rst_known.name IN ('', rst_known.band::VARCHAR) THEN coalesce(
                        list_filter(s.names, lambda rst_sibling: rst_sibling.band = rst_known.band
                            AND len(list_filter(i.bands, lambda rst_other: rst_other.name = rst_sibling.name)) = 0)[1].name,
                        rst_known.name
                    )
                    ELSE rst_known.name
                END,
                'band': rst_known.band,
                'common_name': rst_known.common_name,
                'description': rst_known.description,
                'nodata': rst_known.nodata,
                'scale': rst_known.scale,
                'offset': rst_known."offset",
                'unit': rst_known.unit,
                'is_alpha': rst_known.is_alpha,
                'nodata_integer': rst_known.nodata_integer
            }) END AS bands
        )
        FROM indexed AS i
        LEFT JOIN sibling_names AS s
            ON s.collection IS NOT DISTINCT FROM i.collection AND s.asset = i.asset AND s.band_count = len(i.bands)
    ) AS described
),
known_bands AS MATERIALIZED (
    SELECT
        k.collection,
        k.asset,
        k.named,
        b.b.name AS name,
        b.b.common_name AS common_name,
        b.b.band AS band,
        len(k.named) AS band_count,
        -- If some bands have no name, their numbers name them. A number then names no other band.
        NOT k.has_unique_names AND coalesce(regexp_full_match(b.b.name, '[0-9]+'), false) AS is_number,
        -- If a file has a name twice, the name identifies no band.
        CASE
            WHEN k.has_unique_names THEN b.b.name
            WHEN regexp_full_match(b.b.name, '[0-9]+') THEN NULL
            WHEN len(list_filter(k.named, lambda rst_known: rst_known.name = b.b.name)) = 1 THEN b.b.name
        END AS unique_name
    FROM (
        SELECT
            *,
            len(list_distinct(list_transform(named, lambda rst_known: nullif(rst_known.name, '')))) = len(named) AS has_unique_names
        -- Files of one asset may have different bands, or the same bands in another order.
        FROM (SELECT DISTINCT collection, asset, named FROM candidates)
    ) AS k, unnest(k.named) AS b(b)
),
asked AS (
    SELECT unnest(TRY_CAST(bands AS VARCHAR[])) AS label, generate_subscripts(TRY_CAST(bands AS VARCHAR[]), 1) AS position
    -- Without requested names there is nothing to match, and the optimizer removes this part.
    WHERE bands IS NOT NULL
),
matches AS (
    SELECT
        k.*,
        q.label,
        q.position,
        CASE
            WHEN k.asset = q.label THEN 1
            WHEN NOT k.is_number AND k.asset || ':' || k.name = q.label THEN 2
            WHEN k.asset || ':' || k.band = q.label THEN 3
            WHEN k.name = q.label THEN 4
            WHEN k.common_name = q.label THEN 5
            WHEN k.band::VARCHAR = q.label THEN 6
        END AS tier
    FROM known_bands AS k, asked AS q
),
fits AS MATERIALIZED (
    SELECT
        m.*,
        min(m.tier) OVER (PARTITION BY m.collection, m.label) AS best_tier,
        CASE
            WHEN m.tier = 1 AND m.band_count > 1 THEN m.asset || ':' || coalesce(nullif(m.unique_name, ''), m.band::VARCHAR)
            ELSE m.label
        END AS band_name
    FROM matches AS m
    WHERE m.tier IS NOT NULL
),
best AS (
    FROM fits
    WHERE tier = best_tier
),
rated AS (
    SELECT
        * EXCLUDE (is_taken, is_read, best_counts),
        -- A composite such as visual, with a band called red, stands beside an asset red and has other bands.
        NOT is_taken AND NOT is_read AND list_contains(best_counts, band_count) AS is_rival
    FROM (
        SELECT
            *,
            bool_or(tier = best_tier) OVER (PARTITION BY collection, label, asset) AS is_taken,
            -- By another label.
            bool_or(tier = best_tier) OVER (PARTITION BY collection, asset, named, band) AS is_read,
            list(CASE WHEN tier = best_tier THEN band_count END) OVER (PARTITION BY collection, label) AS best_counts
        FROM fits
    )
),
passed_over AS (
    SELECT DISTINCT collection, label
    FROM (
        SELECT r.collection, r.label, c.item_id
        FROM rated AS r
        JOIN candidates AS c
            ON c.collection IS NOT DISTINCT FROM r.collection AND c.asset = r.asset AND c.named IS NOT DISTINCT FROM r.named
        WHERE EXISTS (FROM rated AS v WHERE v.is_rival)
        GROUP BY r.collection, r.label, c.item_id
        HAVING bool_or(r.is_rival) AND NOT bool_or(r.tier = r.best_tier)
    )
),
doubts AS (
    SELECT error(
        'bands: got ''' || label || ''', which fits ' || string_agg(
            DISTINCT '''' || asset || ':' || coalesce(nullif(unique_name, ''), band::VARCHAR) || '''', ', '
            ORDER BY '''' || asset || ':' || coalesce(nullif(unique_name, ''), band::VARCHAR) || '''' ASC NULLS LAST
        ) || '; expected one of them: name it in full'
    ) AS doubt
    FROM (
        SELECT *, count(*) OVER (PARTITION BY collection, label, asset, named) AS repeats
        FROM best
        WHERE tier > 1
    )
    GROUP BY collection, label
    HAVING count(DISTINCT asset) > 1 OR max(repeats) > 1
    UNION ALL
    -- A label that is not the name of the band that it finds would be missing in what is read.
    SELECT error(
        'bands: got ''' || first_label || ''' and ''' || label || ''', which both name band ' || band || ' of asset '''
        || asset || '''; expected each band once: leave one of them out'
    )
    FROM (
        SELECT
            *,
            first_value(label) OVER bands_by_position AS first_label,
            first_value(band_name) OVER bands_by_position AS first_name
        FROM best
        WINDOW bands_by_position AS (PARTITION BY collection, asset, named, band ORDER BY position ASC NULLS LAST)
    )
    WHERE tier > 1 AND first_name != label
    UNION ALL
    -- An asset key that is new in a collection would hide older items, whose asset has it for a common name.
    SELECT error(
        'bands: got ''' || r.label || ''', which names asset '
        || string_agg(DISTINCT '''' || r.asset || '''', ', ' ORDER BY '''' || r.asset || '''' ASC NULLS LAST) FILTER (NOT r.is_rival)
        || ' in some items and asset '
        || string_agg(DISTINCT '''' || r.asset || '''', ', ' ORDER BY '''' || r.asset || '''' ASC NULLS LAST) FILTER (r.is_rival)
        || ' in others; expected one meaning for all: give both, '
        || string_agg(DISTINCT '''' || r.asset || '''', ', ' ORDER BY '''' || r.asset || '''' ASC NULLS LAST)
        || ', or leave out the items of one'
    )
    FROM rated AS r
    JOIN passed_over AS p ON p.collection IS NOT DISTINCT FROM r.collection AND p.label = r.label
    WHERE r.is_rival OR r.tier = r.best_tier
    GROUP BY r.collection, r.label
),
unknowns AS (
    SELECT error(
        'bands: got ''' || q.label || ''', expected one of the assets ' || coalesce(k.assets, '(none)')
            || CASE WHEN k.names != '' THEN ' or of the bands ' || k.names ELSE '' END
            || ', which the area and the period leave' || _rst_did_you_mean(q.label, k.labels)
    ) AS unknown
    FROM asked AS q, (
        SELECT
            string_agg(DISTINCT '''' || asset || '''', ', ' ORDER BY '''' || asset || '''' ASC NULLS LAST) AS assets,
            coalesce(string_agg(DISTINCT '''' || asset || ':' || name || '''', ', ' ORDER BY '''' || asset || ':' || name || '''' ASC NULLS LAST)
                FILTER (WHERE band_count > 1), '') AS names,
            list_concat(
                list(DISTINCT asset),
                list(DISTINCT name) FILTER (WHERE NOT is_number AND name != ''),
                list(DISTINCT common_name) FILTER (WHERE common_name != '')
            ) AS labels
        FROM known_bands
    ) AS k
    WHERE q.label NOT IN (SELECT label FROM best) AND EXISTS (FROM indexed)
),
chosen_bands AS (
    SELECT
        collection,
        asset,
        named,
        list({'band': band, 'name': band_name, 'position': position} ORDER BY position ASC NULLS LAST, band ASC NULLS LAST) AS chosen
    FROM (
        SELECT collection, asset, named, band, band_name, position
        FROM best
        QUALIFY row_number() OVER (PARTITION BY collection, asset, named, band ORDER BY position ASC NULLS LAST) = 1
        UNION ALL
        SELECT
            collection,
            asset,
            named,
            band,
            CASE WHEN band_count > 1 THEN asset || ':' || coalesce(nullif(unique_name, ''), band::VARCHAR) ELSE asset END,
            1
        FROM known_bands
        WHERE bands IS NULL
    )
    GROUP BY collection, asset, named
),
projected AS (
    SELECT
        code,
        CASE WHEN code IS NOT NULL AND a.area IS NOT NULL THEN _rst_project(a.area, crs, code) END AS area,
        CASE
            WHEN resolution_crs IS NULL OR code IS NULL OR upper(code) = upper(resolution_crs) THEN TRY_CAST(resolution AS DOUBLE)
            ELSE _rstpy_pixel_size(TRY_CAST(resolution AS DOUBLE), resolution_crs, code, a.area, crs)
        END AS pixel_size
    FROM (SELECT DISTINCT indexed.crs AS code FROM indexed), rst_plan_arguments AS a
),
levelled AS MATERIALIZED (
    SELECT
        c.* EXCLUDE (formats, levels, bands, named),
        list_transform(list_filter(list_transform(b.chosen, lambda rst_band: {
            'chosen': rst_band,
            -- Band n is the nth band, except in an edited index. Always searching would take quadratic time.
            'known': CASE
                WHEN c.bands[rst_band.band].band = rst_band.band THEN c.bands[rst_band.band]
                ELSE list_filter(c.bands, lambda rst_known: rst_known.band = rst_band.band)[1]
            END
        }), lambda rst_pair: rst_pair.known IS NOT NULL), lambda rst_pair: {
            'band': rst_pair.chosen.band,
            'name': rst_pair.chosen.name,
            'position': rst_pair.chosen.position,
            'nodata': rst_pair.known.nodata,
            'scale': rst_pair.known.scale,
            'offset': rst_pair.known."offset",
            'unit': rst_pair.known.unit
        }) AS bands,
        -- GDAL's rule for alpha: the last of two or four bands of unsigned 8 or 16 bits.
        CASE
            WHEN c.dtype IN ('uint8', 'uint16') AND len(c.bands) IN (2, 4) AND c.bands[-1].is_alpha THEN len(c.bands)
        END AS alpha_band,
        p.area,
        p.pixel_size,
        CASE
            WHEN level IS NULL AND resolution IS NULL THEN 0
            WHEN TRY_CAST(level AS BIGINT) < len(c.levels) THEN TRY_CAST(level AS BIGINT)
            WHEN level IS NOT NULL
                THEN error('level: got ' || level::VARCHAR || ', expected 0 to ' || (len(c.levels) - 1) || ', the levels of asset '''
                    || c.asset || ''' of item ''' || c.item_id || '''; choose one of them, or give resolution :=')
            WHEN c.transform IS NULL
                THEN error('resolution: asset ''' || c.asset || ''' of item ''' || c.item_id || ''' has no transform, so '
                    || 'its pixel size is not known; give level := instead')
            ELSE coalesce(list_max(list_filter(range(len(c.levels)), lambda rst_n:
                abs(c.transform[1]) * c.levels[1].width / c.levels[rst_n + 1].width <= p.pixel_size * 1.000001
            )), 0)
        END::INTEGER AS level,
        c.formats,
        c.levels
    FROM candidates AS c
    JOIN chosen_bands AS b
        ON b.collection IS NOT DISTINCT FROM c.collection AND b.asset = c.asset AND b.named IS NOT DISTINCT FROM c.named
    LEFT JOIN projected AS p ON p.code IS NOT DISTINCT FROM c.crs
    WHERE NOT EXISTS (FROM doubts WHERE doubt IS NOT NULL) AND NOT EXISTS (FROM unknowns WHERE unknown IS NOT NULL)
),
sized AS (
    SELECT
        s.* EXCLUDE (transform),
        list_transform([s.levels[s.level + 1]], lambda rst_level: {
            'width': _rst_checked_width(
                rst_level.width, rst_level.height, rst_level.tile_byte_counts, s.formats[rst_level.format],
                'asset "' || s.asset || '" of item ' || s.item_id || ': levels.tile_byte_counts'
            ),
            'height': rst_level.height,
            'format': s.formats[rst_level.format],
            'tile_byte_counts': rst_level.tile_byte_counts,
            'run_offsets': rst_level.run_offsets,
            'tile_gaps': rst_level.tile_gaps,
            'mask': CASE WHEN rst_level.mask IS NOT NULL THEN {
                'width': _rst_checked_width(
                    rst_level.mask.width, rst_level.mask.height, rst_level.mask.tile_byte_counts,
                    s.formats[rst_level.mask.format],
                    'asset "' || s.asset || '" of item ' || s.item_id || ': levels.mask.tile_byte_counts'
                ),
                'format': s.formats[rst_level.mask.format],
                'tile_byte_counts': rst_level.mask.tile_byte_counts,
                'run_offsets': rst_level.mask.run_offsets,
                'tile_gaps': rst_level.mask.tile_gaps
            } END
        })[1] AS image,
        list_transform([{
            'x_size': s.transform[1] * s.levels[1].width / s.levels[s.level + 1].width,
            'y_size': s.transform[5] * s.levels[1].height / s.levels[s.level + 1].height
        }], lambda rst_pixel: [rst_pixel.x_size, 0::DOUBLE, s.transform[3], 0::DOUBLE, rst_pixel.y_size, s.transform[6]])[1] AS transform
    FROM levelled AS s
),
parted AS (
    SELECT
        s.*,
        CASE
            WHEN (FROM (SELECT a.area IS NULL FROM rst_plan_arguments AS a))
                THEN [{'xmin': 0::DOUBLE, 'ymin': 0::DOUBLE, 'xmax': s.image.width::DOUBLE, 'ymax': s.image.height::DOUBLE}]
            WHEN s.transform[1] IS NULL OR s.crs IS NULL
                THEN error('area: asset ''' || s.asset || ''' of item ''' || s.item_id || ''' has no CRS or no transform, so '
                    || 'no place in it can be found; leave the area out, or the asset: give a query WHERE crs IS NOT NULL as the index')
            ELSE list_filter(
                list_transform(s.area, lambda rst_part: {
                    'xmin': least((rst_part.xmin - s.transform[3]) / s.transform[1], (rst_part.xmax - s.transform[3]) / s.transform[1]),
                    'ymin': least((rst_part.ymin - s.transform[6]) / s.transform[5], (rst_part.ymax - s.transform[6]) / s.transform[5]),
                    'xmax': greatest((rst_part.xmin - s.transform[3]) / s.transform[1], (rst_part.xmax - s.transform[3]) / s.transform[1]),
                    'ymax': greatest((rst_part.ymin - s.transform[6]) / s.transform[5], (rst_part.ymax - s.transform[6]) / s.transform[5])
                }),
                -- Pixels are half open, and a part touches one at least.
                lambda rst_part: greatest(ceil(rst_part.xmax - 1e-6), floor(rst_part.xmin + 1e-6) + 1) > 0
                    AND greatest(ceil(rst_part.ymax - 1e-6), floor(rst_part.ymin + 1e-6) + 1) > 0
                    AND floor(rst_part.xmin + 1e-6) < s.image.width AND floor(rst_part.ymin + 1e-6) < s.image.height
            )
        END AS touched_parts,
        CASE
            WHEN margin IS NULL THEN 0
            ELSE ceil(margin * greatest(1, coalesce(s.pixel_size / abs(s.transform[1]), 1)))
        END AS beside
    FROM sized AS s
),
windowed AS (
    SELECT
        p.* EXCLUDE (touched_parts, beside, pixel_size),
        {
            'xmin': list_min(list_transform(p.pixel_parts, lambda rst_part: rst_part.xmin)),
            'ymin': list_min(list_transform(p.pixel_parts, lambda rst_part: rst_part.ymin)),
            'xmax': list_max(list_transform(p.pixel_parts, lambda rst_part: rst_part.xmax)),
            'ymax': list_max(list_transform(p.pixel_parts, lambda rst_part: rst_part.ymax))
        } AS pixels
    FROM (
        SELECT
            *,
            -- In whole pixels. A point on the border of two pixels lies in the pixel that begins there.
            list_transform(touched_parts, lambda rst_part: {
                'xmin': floor(rst_part.xmin - beside + 1e-6),
                'ymin': floor(rst_part.ymin - beside + 1e-6),
                'xmax': greatest(ceil(rst_part.xmax + beside - 1e-6), floor(rst_part.xmin - beside + 1e-6) + 1),
                'ymax': greatest(ceil(rst_part.ymax + beside - 1e-6), floor(rst_part.ymin - beside + 1e-6) + 1)
            }) AS pixel_parts
        FROM parted
    ) AS p
)
SELECT
    row_number() OVER (ORDER BY w.collection ASC NULLS LAST, w.datetime ASC NULLS LAST, w.item_id ASC NULLS LAST, w.asset ASC NULLS LAST, w.href ASC NULLS LAST) - 1 AS asset_no,
    w.* EXCLUDE (pixels, area),
    greatest(w.pixels.ymin, 0)::INTEGER AS row_off,
    greatest(w.pixels.xmin, 0)::INTEGER AS col_off,
    least(w.pixels.ymax, w.image.height)::INTEGER AS row_end,
    least(w.pixels.xmax, w.image.width)::INTEGER AS col_end
FROM windowed AS w
WHERE w.pixels.xmin IS NOT NULL AND len(w.bands) > 0
ORDER BY asset_no ASC NULLS LAST;
