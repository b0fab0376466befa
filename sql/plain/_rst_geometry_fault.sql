-- name: _rst_geometry_fault
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- What is wrong with a geometry in a text, or NULL; without error(), so that what is not wrong is a constant by which is pruned.
CREATE OR REPLACE MACRO _rst_geometry_fault(geometry_text) AS
    list_transform(
        [_rst_geometry_pieces(geometry_text)],
        lambda pieces: CASE
            WHEN geometry_text IS NULL THEN NULL
            WHEN pieces IS NULL
                OR NOT _rst_is_geometry_text(geometry_text)
                OR len(list_filter(pieces, lambda piece: piece.rings IS NULL)) > 0
                OR len(list_filter(flatten(list_transform(pieces, lambda piece: piece.rings)), lambda ring: ring IS NULL)) > 0
                OR len(list_filter(
                    flatten(flatten(list_transform(pieces, lambda piece: piece.rings))),
                    lambda point: NOT coalesce(len(point) > 1 AND isfinite(point[1]) AND isfinite(point[2]), false)
                )) > 0
                THEN 'expected GeoJSON, WKT or WKB in longitude and latitude, or in the CRS that crs := names'
            WHEN len(list_filter(
                flatten(list_transform(pieces, lambda piece: list_transform(
                    piece.rings, lambda ring: {'dimension': piece.dimension, 'ring': ring}
                ))),
                lambda one: CASE one.dimension
                    WHEN 1 THEN len(one.ring) = 1
                    WHEN 2 THEN len(one.ring) BETWEEN 1 AND 3 OR one.ring[1][1:2] != one.ring[-1][1:2]
                END
            )) > 0
                THEN 'expected lines of two points or more, and rings of four or more that end where they begin'
            WHEN len(flatten(flatten(list_transform(pieces, lambda piece: piece.rings)))) = 0
                THEN 'which is empty; expected one with an extent'
        END
    )[1];
