-- name: _rst_can_project_points
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Whether points in lon/lat lie where their edges can be followed in another CRS: 45 degrees around a UTM zone, and off the poles.
CREATE OR REPLACE MACRO _rst_can_project_points(points, to_code) AS
    list_transform(
        [{'zone': _rst_utm_zone(to_code), 'is_mercator': upper(to_code) = 'EPSG:3857'}],
        lambda target: len(list_filter(points, lambda point: CASE
            WHEN target.zone IS NOT NULL
                -- Degrees from the zone's meridian, whichever way longitudes are counted.
                THEN abs(point.x - (6 * abs(target.zone) - 183) - 360 * round((point.x - (6 * abs(target.zone) - 183)) / 360)) > 45
                    OR abs(point.y) > 89.9
            WHEN target.is_mercator THEN abs(point.x) > 180 OR abs(point.y) > 89.9
            ELSE false
        END)) = 0
    )[1];
