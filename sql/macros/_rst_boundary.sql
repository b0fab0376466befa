-- name: _rst_boundary
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Points along the edges of bounds, 22 steps an edge, so that reprojected bounds hold the curved edges.
CREATE OR REPLACE MACRO _rst_boundary(part) AS
    flatten(list_transform(range(23), lambda step: [
        {'x': part.xmin + (part.xmax - part.xmin) * step / 22, 'y': part.ymin},
        {'x': part.xmin + (part.xmax - part.xmin) * step / 22, 'y': part.ymax},
        {'x': part.xmin, 'y': part.ymin + (part.ymax - part.ymin) * step / 22},
        {'x': part.xmax, 'y': part.ymin + (part.ymax - part.ymin) * step / 22}
    ]));
