-- name: _rst_geometry_fault
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The fault of a geometry in text, or NULL. It does not call error(), so a valid geometry is a constant, and row groups are skipped.
CREATE OR REPLACE MACRO _rst_geometry_fault(geometry_text) AS
    list_transform(
        [_rst_geometry_rings(geometry_text)],
        lambda rst_rings: CASE
            WHEN geometry_text IS NULL THEN NULL
            WHEN rst_rings IS NULL
                OR len(list_filter(rst_rings, lambda rst_ring: rst_ring.points IS NULL)) > 0
                OR len(list_filter(
                    flatten(list_transform(rst_rings, lambda rst_ring: rst_ring.points)),
                    lambda rst_point: NOT coalesce(len(rst_point) > 1 AND isfinite(rst_point[1]) AND isfinite(rst_point[2]), false)
                )) > 0
                THEN 'expected GeoJSON, WKT or WKB in longitude and latitude, or in the CRS that geometry_crs := names'
            WHEN len(list_filter(rst_rings, lambda rst_ring: CASE
                WHEN rst_ring.kind LIKE '%linestring' THEN len(rst_ring.points) = 1
                WHEN rst_ring.kind LIKE '%polygon' THEN len(rst_ring.points) BETWEEN 1 AND 3 OR rst_ring.points[1][1:2] != rst_ring.points[-1][1:2]
                ELSE false
            END)) > 0
                THEN 'expected lines of two points or more, and rings of four or more that end where they begin'
            WHEN len(flatten(list_transform(rst_rings, lambda rst_ring: rst_ring.points))) = 0
                THEN 'which is empty; expected one with an extent'
        END
    )[1];
