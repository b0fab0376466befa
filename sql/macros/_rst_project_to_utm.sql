-- name: _rst_project_to_utm
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Lon/lat bounds as bounds in a UTM zone. Longitudes more than 45 degrees from the zone's meridian are cut off.
CREATE OR REPLACE MACRO _rst_project_to_utm(parts, zone) AS
    list_transform(
        list_filter(
            list_transform(_rst_turns(parts), lambda part: {
                'xmin': greatest(part.xmin, 6 * abs(zone) - 228),
                'ymin': greatest(part.ymin, -89.9),
                'xmax': least(part.xmax, 6 * abs(zone) - 138),
                'ymax': least(part.ymax, 89.9)
            }),
            lambda part: part.xmin <= part.xmax AND part.ymin <= part.ymax
        ),
        lambda part: _rst_bounds_of(list_transform(
            _rst_boundary(part, 6 * abs(zone) - 183), lambda point: _rst_utm(point.x, point.y, abs(zone), zone < 0)
        ))
    );
