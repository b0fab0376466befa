-- name: _rst_turns
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Lon/lat bounds, and the same bounds 360 degrees to the west and to the east.
CREATE OR REPLACE MACRO _rst_turns(parts) AS
    flatten(list_transform(parts, lambda rst_bounds: [
        rst_bounds,
        {'xmin': rst_bounds.xmin - 360, 'ymin': rst_bounds.ymin, 'xmax': rst_bounds.xmax - 360, 'ymax': rst_bounds.ymax},
        {'xmin': rst_bounds.xmin + 360, 'ymin': rst_bounds.ymin, 'xmax': rst_bounds.xmax + 360, 'ymax': rst_bounds.ymax}
    ]));
