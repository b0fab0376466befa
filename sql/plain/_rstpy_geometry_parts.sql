-- name: _rstpy_geometry_parts
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Where there is no Python: the bounds of the points, lines and polygons of a geometry, in its own CRS.
CREATE OR REPLACE MACRO _rstpy_geometry_parts(geometry_text, code) AS
    CASE
        WHEN _rst_geometry_fault(geometry_text) IS NOT NULL
            THEN error('geometry: got ' || _rst_quoted(geometry_text) || ', ' || _rst_geometry_fault(geometry_text))
        ELSE list_transform(
            list_filter(_rst_geometry_pieces(geometry_text), lambda piece: len(flatten(piece.rings)) > 0),
            lambda piece: {
                'xmin': list_min(list_transform(flatten(piece.rings), lambda point: point[1])),
                'ymin': list_min(list_transform(flatten(piece.rings), lambda point: point[2])),
                'xmax': list_max(list_transform(flatten(piece.rings), lambda point: point[1])),
                'ymax': list_max(list_transform(flatten(piece.rings), lambda point: point[2]))
            }
        )
    END;
