-- name: _rst_densified
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Pieces of a geometry as lists of points {x, y}; with points between, so that none are further apart than a hundredth of its extent.
CREATE OR REPLACE MACRO _rst_densified(pieces) AS
    list_transform(
        list_transform([flatten(flatten(list_transform(pieces, lambda piece: piece.rings)))], lambda points: {
            'step': greatest(
                list_max(list_transform(points, lambda point: point[1])) - list_min(list_transform(points, lambda point: point[1])),
                list_max(list_transform(points, lambda point: point[2])) - list_min(list_transform(points, lambda point: point[2]))
            ) / 100
        }),
        lambda whole: list_transform(pieces, lambda piece: {
            'dimension': piece.dimension,
            'rings': list_transform(list_filter(piece.rings, lambda ring: len(ring) > 0), lambda ring: list_append(
                flatten(list_transform(
                    list_transform(range(1, len(ring)), lambda n: {
                        'x': ring[n][1],
                        'y': ring[n][2],
                        'x_end': ring[n + 1][1],
                        'y_end': ring[n + 1][2],
                        'steps': CASE
                            WHEN whole.step > 0
                                THEN greatest(1, ceil(sqrt(pow(ring[n + 1][1] - ring[n][1], 2) + pow(ring[n + 1][2] - ring[n][2], 2)) / whole.step))
                            ELSE 1
                        END::BIGINT
                    }),
                    lambda segment: list_transform(range(segment.steps), lambda step: {
                        'x': segment.x + step / segment.steps * (segment.x_end - segment.x),
                        'y': segment.y + step / segment.steps * (segment.y_end - segment.y)
                    })
                )),
                {'x': ring[-1][1], 'y': ring[-1][2]}
            ))
        })
    )[1];
