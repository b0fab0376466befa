-- name: _rst_geometry_rings
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The points, lines and rings of a geometry, each as a list of points [x, y, ...]. The list is NULL if the coordinates are invalid.
CREATE OR REPLACE MACRO _rst_geometry_rings(geometry_text) AS
    flatten(list_transform(_rst_geometry_members(geometry_text), lambda member: list_transform(
        CASE member.kind
            WHEN 'point' THEN [[TRY_CAST(member.coordinates AS DOUBLE[])]]
            WHEN 'multipoint' THEN list_transform(TRY_CAST(member.coordinates AS DOUBLE[][]), lambda point: [point])
            WHEN 'linestring' THEN [TRY_CAST(member.coordinates AS DOUBLE[][])]
            WHEN 'multilinestring' THEN TRY_CAST(member.coordinates AS DOUBLE[][][])
            WHEN 'polygon' THEN TRY_CAST(member.coordinates AS DOUBLE[][][])
            WHEN 'multipolygon' THEN flatten(TRY_CAST(member.coordinates AS DOUBLE[][][][]))
            ELSE [NULL::DOUBLE[][]]
        END,
        lambda points: {'kind': member.kind, 'points': points}
    )))::STRUCT(kind VARCHAR, points DOUBLE[][])[];
