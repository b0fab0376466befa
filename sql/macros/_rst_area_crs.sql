-- name: _rst_area_crs
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The CRS of an area. The argument crs is refused, which is the CRS of a grid in Python.
CREATE OR REPLACE MACRO _rst_area_crs(geometry_crs, crs) AS
    CASE
        WHEN crs IS NOT NULL
            THEN error('crs: got ''' || crs::VARCHAR || ''' as the CRS of an area, expected geometry_crs := ''' || crs::VARCHAR || '''')
        ELSE coalesce(geometry_crs::VARCHAR, 'OGC:CRS84')
    END;
