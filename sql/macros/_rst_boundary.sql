-- name: _rst_boundary
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Points along the edges of lon/lat bounds, with at least 22 steps per degree and per edge, and points at a UTM zone's meridian.
CREATE OR REPLACE MACRO _rst_boundary(part, meridian) AS
    list_transform(
        [greatest(22, ceil(22 * greatest(part.xmax - part.xmin, part.ymax - part.ymin)))::BIGINT],
        lambda rst_steps: list_concat(
            flatten(list_transform(range(rst_steps + 1), lambda rst_step: [
                {'x': part.xmin + (part.xmax - part.xmin) * rst_step / rst_steps, 'y': part.ymin},
                {'x': part.xmin + (part.xmax - part.xmin) * rst_step / rst_steps, 'y': part.ymax},
                {'x': part.xmin, 'y': part.ymin + (part.ymax - part.ymin) * rst_step / rst_steps},
                {'x': part.xmax, 'y': part.ymin + (part.ymax - part.ymin) * rst_step / rst_steps}
            ])),
            -- Extrema of an edge: northing along a parallel at the meridian, easting along a meridian at the equator.
            [
                {'x': greatest(part.xmin, least(part.xmax, meridian)), 'y': part.ymin},
                {'x': greatest(part.xmin, least(part.xmax, meridian)), 'y': part.ymax},
                {'x': part.xmin, 'y': greatest(part.ymin, least(part.ymax, 0))},
                {'x': part.xmax, 'y': greatest(part.ymin, least(part.ymax, 0))}
            ]
        )
    )[1];
