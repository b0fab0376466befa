-- name: _rst_reach
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- One bound of an area in lon/lat, from its bbox or its geometry. It is endless without an area, or in another CRS.
CREATE OR REPLACE MACRO _rst_reach(code, of_bbox, of_geometry, endless) AS
    CASE WHEN _rst_is_lonlat(code) THEN coalesce(of_bbox, of_geometry, endless) ELSE endless END;
