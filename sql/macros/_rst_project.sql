-- name: _rst_project
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Bounds in one CRS as bounds in another: lon/lat to UTM and Web Mercator in SQL, any other pair by pyproj.
CREATE OR REPLACE MACRO _rst_project(parts, from_code, to_code) AS
    list_transform(
        [{'parts': parts, 'from': from_code, 'to': to_code, 'zone': _rst_utm_zone(to_code)}],
        lambda projection:
            CASE
                WHEN _rst_is_lonlat(projection.from) AND _rst_is_lonlat(projection.to) THEN _rst_turns(projection.parts)
                WHEN upper(projection.from) = upper(projection.to) THEN projection.parts
                WHEN _rst_is_lonlat(projection.from) AND projection.zone IS NOT NULL THEN _rst_project_to_utm(projection.parts, projection.zone)
                WHEN _rst_is_lonlat(projection.from) AND upper(projection.to) = 'EPSG:3857' THEN _rst_project_to_mercator(projection.parts)
                ELSE _rstpy_project(projection.parts, projection.from, projection.to)
            END
    )[1];
