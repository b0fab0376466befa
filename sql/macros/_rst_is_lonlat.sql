-- name: _rst_is_lonlat
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Whether a CRS code stands for longitude and latitude in degrees on (very nearly) WGS 84.
CREATE OR REPLACE MACRO _rst_is_lonlat(code) AS
    upper(code) IN ('OGC:CRS84', 'EPSG:4326', 'EPSG:4269', 'EPSG:4258', 'CRS84');
