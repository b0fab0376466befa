-- name: _rstpy_tiles_touched
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Where there is no Python: the numbers of the tiles of a window that a geometry touches; all of them where it reaches too far to be projected.
CREATE OR REPLACE MACRO _rstpy_tiles_touched(geometry_text, code, raster_code, transform, grid) AS (
    SELECT list(touched.cell ORDER BY touched.cell)
    FROM (
        SELECT part.cell
        FROM (
            SELECT
                pair.cell,
                pair.polygon,
                bool_or(CASE
                    WHEN pair.polygon IS NULL THEN true
                    -- A border is no more than touched by what has an area.
                    WHEN pair.has_area
                        THEN greatest(pair.x_in, pair.y_in) < least(pair.x_out, pair.y_out)
                            AND greatest(pair.x_in, pair.y_in) < 1 AND least(pair.x_out, pair.y_out) > 0
                    ELSE greatest(pair.x_in, pair.y_in, 0) <= least(pair.x_out, pair.y_out, 1)
                END) AS is_entered,
                -- Where no edge is in the tile, all of it lies inside or outside: a ray from its middle crosses a polygon
                -- around it an odd number of times.
                count(*) FILTER (
                    (pair.y > pair.y_middle) != (pair.y_end > pair.y_middle)
                    AND pair.x + (pair.y_middle - pair.y) / (pair.y_end - pair.y) * (pair.x_end - pair.x) > pair.x_middle
                ) % 2 = 1 AS is_inside
            FROM (
                SELECT
                    tile.cell,
                    tile.turn,
                    edge.*,
                    (tile.xmin + tile.xmax) / 2 AS x_middle,
                    (tile.ymin + tile.ymax) / 2 AS y_middle,
                    -- Which part of the edge, from 0 to 1, lies between the sides of the tile; all or none where it runs along them.
                    CASE
                        WHEN edge.x != edge.x_end
                            THEN least((tile.xmin - edge.x) / (edge.x_end - edge.x), (tile.xmax - edge.x) / (edge.x_end - edge.x))
                        WHEN edge.x > tile.xmin AND edge.x < tile.xmax THEN '-inf'::DOUBLE
                        WHEN NOT edge.has_area AND edge.x >= tile.xmin AND edge.x <= tile.xmax THEN '-inf'::DOUBLE
                        ELSE 'inf'::DOUBLE
                    END AS x_in,
                    CASE
                        WHEN edge.x != edge.x_end
                            THEN greatest((tile.xmin - edge.x) / (edge.x_end - edge.x), (tile.xmax - edge.x) / (edge.x_end - edge.x))
                        ELSE 'inf'::DOUBLE
                    END AS x_out,
                    CASE
                        WHEN edge.y != edge.y_end
                            THEN least((tile.ymin - edge.y) / (edge.y_end - edge.y), (tile.ymax - edge.y) / (edge.y_end - edge.y))
                        WHEN edge.y > tile.ymin AND edge.y < tile.ymax THEN '-inf'::DOUBLE
                        WHEN NOT edge.has_area AND edge.y >= tile.ymin AND edge.y <= tile.ymax THEN '-inf'::DOUBLE
                        ELSE 'inf'::DOUBLE
                    END AS y_in,
                    CASE
                        WHEN edge.y != edge.y_end
                            THEN greatest((tile.ymin - edge.y) / (edge.y_end - edge.y), (tile.ymax - edge.y) / (edge.y_end - edge.y))
                        ELSE 'inf'::DOUBLE
                    END AS y_out
                FROM (
                    SELECT
                        box.tile.cell AS cell,
                        box.turn AS turn,
                        least(box.tile.x, box.tile.x_end) - box.beside + box.turn AS xmin,
                        least(box.tile.y, box.tile.y_end) - box.beside AS ymin,
                        greatest(box.tile.x, box.tile.x_end) + box.beside + box.turn AS xmax,
                        greatest(box.tile.y, box.tile.y_end) + box.beside AS ymax
                    FROM (
                        SELECT
                            unnest(_rst_tile_boxes(transform, grid)) AS tile,
                            each.turn,
                            -- A millimetre, by which projections here and by pyproj cannot differ.
                            CASE WHEN _rst_is_same_crs(code, raster_code) THEN 0 ELSE 0.001 END AS beside
                        FROM (
                            -- Longitudes may be counted from -180, from 0, or on beyond 180.
                            SELECT unnest(CASE WHEN _rst_is_lonlat(code) AND _rst_is_lonlat(raster_code) THEN [0, 360, -360] ELSE [0] END) AS turn
                        ) AS each
                    ) AS box
                ) AS tile
                JOIN (
                    SELECT
                        line.edge.x AS x,
                        line.edge.y AS y,
                        line.edge.x_end AS x_end,
                        line.edge.y_end AS y_end,
                        line.edge.polygon AS polygon,
                        line.has_area
                    FROM (
                        SELECT unnest(area.area.edges) AS edge, area.area.has_area AS has_area
                        FROM (SELECT _rst_edges_in(geometry_text, code, raster_code) AS area) AS area
                    ) AS line
                ) AS edge ON least(edge.y, edge.y_end) <= tile.ymax AND greatest(edge.y, edge.y_end) >= tile.ymin
            ) AS pair
            GROUP BY pair.cell, pair.turn, pair.polygon
        ) AS part
        GROUP BY part.cell
        HAVING bool_or(part.is_entered OR (part.polygon > 0 AND part.is_inside))
    ) AS touched
);
