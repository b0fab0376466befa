-- name: _rst_edges_in
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The edges of a geometry in the CRS of a raster, with whether it has an area; one without ends where it reaches too far to be projected.
CREATE OR REPLACE MACRO _rst_edges_in(geometry_text, code, raster_code) AS (
    -- The aggregate of one row lets DuckDB project once for each CRS.
    SELECT any_value({
        'has_area': len(list_filter(_rst_geometry_pieces(geometry_text), lambda piece: piece.dimension = 2)) > 0,
        'edges': CASE
            WHEN _rst_is_same_crs(code, raster.code)
                THEN _rst_edges(_rst_as_points(_rst_geometry_pieces(geometry_text)))
            WHEN _rst_can_project_points(_rst_points(_rst_geometry_pieces(geometry_text)), raster.code)
                THEN _rst_edges(_rst_project_pieces(_rst_densified(_rst_geometry_pieces(geometry_text)), raster.code))
            ELSE [{'x': '-inf'::DOUBLE, 'y': '-inf'::DOUBLE, 'x_end': 'inf'::DOUBLE, 'y_end': 'inf'::DOUBLE, 'polygon': NULL}]
        END
    })
    FROM (SELECT raster_code AS code) AS raster
);
