-- name: _rst_project
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Bounds in one CRS as bounds in another: lon/lat to UTM and Web Mercator in SQL, any other pair by pyproj.
CREATE OR REPLACE MACRO _rst_project(parts, from_code, to_code) AS
    list_transform(
        [{'parts': parts, 'from': from_code, 'to': to_code, 'zone': _rst_utm_zone(to_code)}],
        lambda rst_projection:
            CASE
                WHEN _rst_is_lonlat(rst_projection.from) AND _rst_is_lonlat(rst_projection.to) THEN _rst_turns(rst_projection.parts)
                WHEN upper(rst_projection.from) = upper(rst_projection.to) THEN rst_projection.parts
                WHEN _rst_is_lonlat(rst_projection.from) AND rst_projection.zone IS NOT NULL THEN _rst_project_to_utm(rst_projection.parts, rst_projection.zone)
                WHEN _rst_is_lonlat(rst_projection.from) AND upper(rst_projection.to) = 'EPSG:3857' THEN _rst_project_to_mercator(rst_projection.parts)
                ELSE _rstpy_project(rst_projection.parts, rst_projection.from, rst_projection.to)
            END
    )[1];
