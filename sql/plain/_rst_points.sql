-- name: _rst_points
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- All points {x, y} of the pieces of a geometry.
CREATE OR REPLACE MACRO _rst_points(pieces) AS
    list_transform(
        flatten(flatten(list_transform(pieces, lambda piece: piece.rings))), lambda point: {'x': point[1], 'y': point[2]}
    );
