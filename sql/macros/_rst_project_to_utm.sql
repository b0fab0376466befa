-- name: _rst_project_to_utm
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Lon/lat bounds as bounds in a UTM zone. Longitudes more than 45 degrees from the zone's meridian are cut off.
CREATE OR REPLACE MACRO _rst_project_to_utm(parts, zone) AS
    list_transform(
        list_filter(
            list_transform(_rst_turns(parts), lambda rst_part: {
                'xmin': greatest(rst_part.xmin, 6 * abs(zone) - 228),
                'ymin': greatest(rst_part.ymin, -89.9),
                'xmax': least(rst_part.xmax, 6 * abs(zone) - 138),
                'ymax': least(rst_part.ymax, 89.9)
            }),
            lambda rst_part: rst_part.xmin <= rst_part.xmax AND rst_part.ymin <= rst_part.ymax
        ),
        lambda rst_part: _rst_bounds_of(list_transform(
            _rst_boundary(rst_part, 6 * abs(zone) - 183), lambda rst_point: _rst_utm(rst_point.x, rst_point.y, abs(zone), zone < 0)
        ))
    );
