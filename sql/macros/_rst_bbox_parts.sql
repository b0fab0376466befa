-- name: _rst_bbox_parts
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- A bbox as one bounds, or as two bounds over the antimeridian. Raises an error if it cannot be (xmin, ymin, xmax, ymax).
CREATE OR REPLACE MACRO _rst_bbox_parts(box, code) AS
    CASE
        WHEN len(box) != 4 OR len(list_filter(box, lambda rst_v: rst_v IS NULL OR NOT isfinite(rst_v))) > 0
            THEN error('bbox: got ' || box::VARCHAR || ', expected four finite numbers [xmin, ymin, xmax, ymax]')
        WHEN box[2] > box[4]
            THEN error('bbox: got ' || box::VARCHAR || ', whose ymin ' || box[2] || ' is above its ymax ' || box[4]
                || '; expected [xmin, ymin, xmax, ymax]: swap them')
        WHEN _rst_is_lonlat(code) AND (box[2] < -90 OR box[4] > 90 OR least(box[1], box[3]) < -180
            OR greatest(box[1], box[3]) > 180)
            THEN error('bbox: got ' || box::VARCHAR || ', expected degrees, longitude -180 to 180 and latitude -90 '
                || 'to 90; for other coordinates name their CRS, for example geometry_crs := ''EPSG:32643''')
        WHEN box[1] > box[3] AND NOT _rst_is_lonlat(code)
            THEN error('bbox: got ' || box::VARCHAR || ', whose xmin ' || box[1] || ' is above its xmax ' || box[3]
                || '; expected [xmin, ymin, xmax, ymax]: swap them')
        WHEN box[1] > box[3] AND box[3] + 360 - box[1] > 180
            THEN error('bbox: got ' || box::VARCHAR || ', whose xmin ' || box[1] || ' is above its xmax ' || box[3]
                || '; over the antimeridian that would be ' || (box[3] + 360 - box[1])::DECIMAL(9, 2)
                || ' degrees wide; expected [xmin, ymin, xmax, ymax]: swap them')
        WHEN box[1] > box[3]
            THEN [
                {'xmin': box[1], 'ymin': box[2], 'xmax': 180::DOUBLE, 'ymax': box[4]},
                {'xmin': -180::DOUBLE, 'ymin': box[2], 'xmax': box[3], 'ymax': box[4]}
            ]
        ELSE [{'xmin': box[1], 'ymin': box[2], 'xmax': box[3], 'ymax': box[4]}]
    END;
