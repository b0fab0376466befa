-- name: _rst_as_points
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Pieces of a geometry with points {x, y} for points [x, y, ...].
CREATE OR REPLACE MACRO _rst_as_points(pieces) AS
    list_transform(pieces, lambda piece: {
        'dimension': piece.dimension,
        'rings': list_transform(piece.rings, lambda ring: list_transform(ring, lambda point: {'x': point[1], 'y': point[2]}))
    });
