-- name: _rst_edges
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The edges of pieces whose points are {x, y}, each with the number of its polygon, or 0; a point is an edge of no length.
CREATE OR REPLACE MACRO _rst_edges(pieces) AS
    flatten(list_transform(pieces, lambda piece, number: flatten(list_transform(piece.rings, lambda ring:
        list_transform(range(1, greatest(len(ring), 2)), lambda n: {
            'x': ring[n].x,
            'y': ring[n].y,
            'x_end': ring[least(n + 1, len(ring))].x,
            'y_end': ring[least(n + 1, len(ring))].y,
            'polygon': CASE WHEN piece.dimension = 2 THEN number ELSE 0 END
        })
    ))));
