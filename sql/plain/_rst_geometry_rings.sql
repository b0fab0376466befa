-- name: _rst_geometry_rings
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The points, lines and rings of a geometry, each as a list of points [x, y, ...]. The list is NULL if the coordinates are invalid.
CREATE OR REPLACE MACRO _rst_geometry_rings(geometry_text) AS
    flatten(list_transform(_rst_geometry_members(geometry_text), lambda rst_member: list_transform(
        CASE rst_member.kind
            WHEN 'point' THEN [[TRY_CAST(rst_member.coordinates AS DOUBLE[])]]
            WHEN 'multipoint' THEN list_transform(TRY_CAST(rst_member.coordinates AS DOUBLE[][]), lambda rst_point: [rst_point])
            WHEN 'linestring' THEN [TRY_CAST(rst_member.coordinates AS DOUBLE[][])]
            WHEN 'multilinestring' THEN TRY_CAST(rst_member.coordinates AS DOUBLE[][][])
            WHEN 'polygon' THEN TRY_CAST(rst_member.coordinates AS DOUBLE[][][])
            WHEN 'multipolygon' THEN flatten(TRY_CAST(rst_member.coordinates AS DOUBLE[][][][]))
            ELSE [NULL::DOUBLE[][]]
        END,
        lambda rst_points: {'kind': rst_member.kind, 'points': rst_points}
    )))::STRUCT(kind VARCHAR, points DOUBLE[][])[];
