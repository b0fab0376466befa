-- name: _rst_project_pieces
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Pieces of a geometry whose points are {x, y}, in lon/lat, as such pieces in UTM or EPSG:3857; in the CRS of their own, as they are.
CREATE OR REPLACE MACRO _rst_project_pieces(pieces, to_code) AS
    list_transform(
        [{'zone': _rst_utm_zone(to_code), 'is_mercator': upper(to_code) = 'EPSG:3857'}],
        lambda target: CASE
            WHEN target.zone IS NULL AND NOT target.is_mercator THEN pieces
            ELSE list_transform(pieces, lambda piece: {
                'dimension': piece.dimension,
                'rings': list_transform(piece.rings, lambda ring: list_transform(ring, lambda point: CASE
                    WHEN target.is_mercator THEN {
                        'x': 6378137 * radians(point.x),
                        'y': 6378137 * asinh(tan(radians(point.y)))
                    }
                    ELSE _rst_utm(point.x, point.y, abs(target.zone), target.zone < 0)
                END))
            })
        END
    )[1];
