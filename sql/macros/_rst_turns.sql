-- name: _rst_turns
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Lon/lat bounds, and the same bounds 360 degrees to the west and to the east.
CREATE OR REPLACE MACRO _rst_turns(parts) AS
    flatten(list_transform(parts, lambda bounds: [
        bounds,
        {'xmin': bounds.xmin - 360, 'ymin': bounds.ymin, 'xmax': bounds.xmax - 360, 'ymax': bounds.ymax},
        {'xmin': bounds.xmin + 360, 'ymin': bounds.ymin, 'xmax': bounds.xmax + 360, 'ymax': bounds.ymax}
    ]));
