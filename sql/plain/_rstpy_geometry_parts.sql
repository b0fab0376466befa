-- name: _rstpy_geometry_parts
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Substitute without Python: the bounds of the points, lines and rings of a geometry, in its own CRS.
CREATE OR REPLACE MACRO _rstpy_geometry_parts(geometry_text, code) AS
    CASE
        WHEN _rst_geometry_fault(geometry_text) IS NOT NULL
            THEN error('geometry: got ''' || CASE WHEN length(geometry_text) <= 60 THEN geometry_text ELSE geometry_text[:57] || '...' END
                || ''', ' || _rst_geometry_fault(geometry_text))
        ELSE list_transform(
            list_filter(_rst_geometry_rings(geometry_text), lambda rst_ring: len(rst_ring.points) > 0),
            lambda rst_ring: _rst_bounds_of(list_transform(rst_ring.points, lambda rst_point: {'x': rst_point[1], 'y': rst_point[2]}))
        )
    END;
