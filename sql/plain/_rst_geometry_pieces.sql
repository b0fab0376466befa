-- name: _rst_geometry_pieces
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The points, lines and polygons of a geometry in a text, as lists of lists of points [x, y, ...]; NULL among them where it is none.
CREATE OR REPLACE MACRO _rst_geometry_pieces(geometry_text) AS
    list_filter(
        flatten(list_transform(_rst_geometry_members(geometry_text), lambda member:
            list_transform(
                CASE member.kind
                    WHEN 'point' THEN [TRY_CAST('[[' || member.coordinates || ']]' AS DOUBLE[][][])]
                    WHEN 'multipoint' THEN list_transform(TRY_CAST(member.coordinates AS DOUBLE[][]), lambda point: [[point]])
                    WHEN 'linestring' THEN [TRY_CAST('[' || member.coordinates || ']' AS DOUBLE[][][])]
                    WHEN 'multilinestring' THEN list_transform(TRY_CAST(member.coordinates AS DOUBLE[][][]), lambda line: [line])
                    WHEN 'polygon' THEN [TRY_CAST(member.coordinates AS DOUBLE[][][])]
                    WHEN 'multipolygon' THEN TRY_CAST(member.coordinates AS DOUBLE[][][][])
                    ELSE [NULL::DOUBLE[][][]]
                END,
                lambda rings: {
                    'dimension': CASE WHEN member.kind LIKE '%point' THEN 0 WHEN member.kind LIKE '%linestring' THEN 1 ELSE 2 END,
                    'rings': rings
                }
            )
        ))::STRUCT(dimension INTEGER, rings DOUBLE[][][])[],
        lambda piece: piece.rings IS NULL OR len(piece.rings) > 0
    );
