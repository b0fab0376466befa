-- name: _rst_is_geometry_text
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Whether a text is GeoJSON, or WKT with nothing but geometries in it.
CREATE OR REPLACE MACRO _rst_is_geometry_text(geometry_text) AS
    CASE
        WHEN starts_with(trim(geometry_text), '{') THEN json_valid(geometry_text)
        ELSE regexp_matches(trim(_rst_wkt(geometry_text)), '(?i)^(?:POINT|LINESTRING|POLYGON|MULTI|GEOMETRYCOLLECTION)')
            AND regexp_full_match(
                regexp_replace(
                    _rst_wkt(geometry_text),
                    _rst_wkt_member() || '|\b(?:(?:MULTI)?(?:POINT|LINESTRING|POLYGON)\s*(?:ZM|Z|M)?\s*EMPTY'
                        || '|GEOMETRYCOLLECTION\s*(?:ZM|Z|M)?(?:\s*EMPTY)?)',
                    '', 'g'
                ),
                '[\s(),]*'
            )
    END;
