-- name: _rst_is_lonlat
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- True if a CRS code means longitude and latitude in degrees on WGS 84, or on a datum that is nearly equal.
CREATE OR REPLACE MACRO _rst_is_lonlat(code) AS
    upper(code) IN ('OGC:CRS84', 'EPSG:4326', 'EPSG:4269', 'EPSG:4258', 'CRS84');
