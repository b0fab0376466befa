-- name: _rst_geometry_members
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The simple geometries in GeoJSON, WKT or WKB: their kinds as in GeoJSON, and their coordinates as JSON.
CREATE OR REPLACE MACRO _rst_geometry_members(geometry_text) AS
    CASE
        WHEN starts_with(trim(geometry_text), '{')
            THEN list_transform(
                flatten(list_transform(
                    CASE json_extract_string(TRY_CAST(geometry_text AS JSON), '$.type')
                        WHEN 'Feature' THEN [json_extract(TRY_CAST(geometry_text AS JSON), '$.geometry')]::JSON[]
                        WHEN 'FeatureCollection' THEN json_extract(TRY_CAST(geometry_text AS JSON), '$.features[*].geometry')::JSON[]
                        ELSE [TRY_CAST(geometry_text AS JSON)]::JSON[]
                    END,
                    lambda one: CASE
                        WHEN json_extract_string(one, '$.type') = 'GeometryCollection' THEN json_extract(one, '$.geometries[*]')::JSON[]
                        ELSE [one]
                    END
                )),
                lambda one: {
                    'kind': lower(json_extract_string(one, '$.type')),
                    'coordinates': json_extract(one, '$.coordinates')::VARCHAR
                }
            )
        ELSE list_transform(
            list_transform(
                regexp_extract_all(_rst_wkt(geometry_text), _rst_wkt_member()),
                lambda one: {
                    'kind': regexp_replace(lower(regexp_extract(one, '^\w+')), 'z?m?$', ''),
                    'body': regexp_extract(one, '\(.*\)', 0, 's')
                }
            ),
            lambda one: {
                'kind': one.kind,
                'coordinates': list_transform(
                    -- Round brackets stand around lists of points; square ones shall stand around each point too.
                    [translate(regexp_replace(regexp_replace(
                        regexp_replace(
                            CASE WHEN one.kind = 'multipoint' THEN '(' || translate(one.body, '()', '') || ')' ELSE one.body END,
                            '\s*([(),])\s*', '\1', 'g'
                        ),
                        '([^(),]+)', '[\1]', 'g'
                    ), '\s+', ',', 'g'), '()', '[]')],
                    lambda brackets: CASE WHEN one.kind = 'point' THEN brackets[2:-2] ELSE brackets END
                )[1]
            }
        )
    END;
