-- name: _rst_outside
-- kind: table macro
-- grain: one row if an area is given and the period leaves rows of the index, otherwise none
-- reads: an index
-- The message for an area that touches no asset, as read_tiles words it. Callers select from it if they have found nothing.
CREATE OR REPLACE MACRO _rst_outside(
    index,
    geometry := NULL,
    bbox := NULL,
    crs := 'OGC:CRS84',
    datetime := NULL
) AS TABLE
SELECT
    coalesce('bbox ' || TRY_CAST(bbox AS DOUBLE[])::VARCHAR, 'geometry') || ' (' || crs || '): touches none of the assets of index '''
    || index::VARCHAR || '''' || coalesce(' within datetime ''' || datetime::VARCHAR || '''', '')
    || '; expected an area inside their footprints. Check the order (xmin, ymin, xmax, ymax: longitude first) and geometry_crs' AS message
FROM (
    SELECT 1
    FROM query(_rst_index_query(index)) AS index_of_schema_2
    WHERE (bbox IS NOT NULL OR geometry IS NOT NULL)
        AND (datetime IS NULL OR index_of_schema_2.reach.start_us < _rst_period_end(datetime::VARCHAR))
        AND (datetime IS NULL OR index_of_schema_2.reach.end_us >= _rst_period_start(datetime::VARCHAR))
    LIMIT 1
);
