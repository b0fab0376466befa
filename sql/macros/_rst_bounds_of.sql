-- name: _rst_bounds_of
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The bounds of a list of points. A lambda binds the list once; otherwise DuckDB plans a macro's argument at each use.
CREATE OR REPLACE MACRO _rst_bounds_of(points) AS
    list_transform([points], lambda vertices: {
        'xmin': list_min(list_transform(vertices, lambda point: point.x)),
        'ymin': list_min(list_transform(vertices, lambda point: point.y)),
        'xmax': list_max(list_transform(vertices, lambda point: point.x)),
        'ymax': list_max(list_transform(vertices, lambda point: point.y))
    })[1];
