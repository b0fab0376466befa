-- name: _rst_bounds_of
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The bounds of a list of points. A lambda binds the list once; otherwise DuckDB plans a macro's argument at each use.
CREATE OR REPLACE MACRO _rst_bounds_of(points) AS
    list_transform([points], lambda rst_vertices: {
        'xmin': list_min(list_transform(rst_vertices, lambda rst_point: rst_point.x)),
        'ymin': list_min(list_transform(rst_vertices, lambda rst_point: rst_point.y)),
        'xmax': list_max(list_transform(rst_vertices, lambda rst_point: rst_point.x)),
        'ymax': list_max(list_transform(rst_vertices, lambda rst_point: rst_point.y))
    })[1];
