-- name: _rst_geometry_members
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The simple geometries in GeoJSON, WKT or WKB, with GeoJSON's kinds, and coordinates as JSON. NULL for any other text.
CREATE OR REPLACE MACRO _rst_geometry_members(geometry_text) AS
    CASE
        -- ST_GeomFromGeoJSON is not in DuckDB 1.5.
        WHEN starts_with(trim(geometry_text), '{')
            THEN list_transform(
                flatten(list_transform(
                    CASE json_extract_string(TRY_CAST(geometry_text AS JSON), '$.type')
                        WHEN 'Feature' THEN [json_extract(TRY_CAST(geometry_text AS JSON), '$.geometry')]::JSON[]
                        WHEN 'FeatureCollection' THEN json_extract(TRY_CAST(geometry_text AS JSON), '$.features[*].geometry')::JSON[]
                        ELSE [TRY_CAST(geometry_text AS JSON)]::JSON[]
                    END,
                    lambda rst_one: CASE
                        WHEN json_extract_string(rst_one, '$.type') = 'GeometryCollection' THEN json_extract(rst_one, '$.geometries[*]')::JSON[]
                        ELSE [rst_one]
                    END
                )),
                lambda rst_one: {
                    'kind': lower(json_extract_string(rst_one, '$.type')),
                    'coordinates': json_extract(rst_one, '$.coordinates')::VARCHAR
                }
            )
        ELSE list_transform(
            -- A name, then up to three nested brackets around numbers: POLYGON Z ((0 0 1, 1 1 1, ...)).
            regexp_extract_all(
                _rst_wkt(geometry_text),
                '(?:MULTI)?(?:POINT|LINESTRING|POLYGON)(?: ZM| Z| M)? \((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)'
            ),
            lambda rst_one: {
                -- A single point has the same brackets as several points.
                'kind': lower(regexp_replace(regexp_extract(rst_one, '^\w+'), '^POINT', 'MULTIPOINT')),
                'coordinates': translate(
                    regexp_replace(replace(regexp_extract(rst_one, '\(.*'), ', ', ','), '([^(),]+)', '[\1]', 'g'), '() ', '[],'
                )
            }
        )
    END;
