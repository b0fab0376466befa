-- name: _rst_project_to_mercator
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Lon/lat bounds as bounds in EPSG:3857, one revolution to the west and to the east too. Latitudes are clamped to 89.9 degrees.
CREATE OR REPLACE MACRO _rst_project_to_mercator(parts) AS
    list_transform(_rst_turns(parts), lambda rst_part: {
        'xmin': 6378137 * radians(rst_part.xmin),
        'ymin': 6378137 * asinh(tan(radians(greatest(rst_part.ymin, -89.9)))),
        'xmax': 6378137 * radians(rst_part.xmax),
        'ymax': 6378137 * asinh(tan(radians(least(rst_part.ymax, 89.9))))
    });
