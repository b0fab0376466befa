-- name: _rst_statistics_plan
-- kind: scalar macro
-- grain: one value
-- reads: the names of the columns of a table
-- What json_serialize_plan says of the columns that tell statistics of tiles from other tables.
CREATE OR REPLACE MACRO _rst_statistics_plan(statistics) AS
    json_serialize_plan((
        'SELECT level, valid_count, integers, floats, classes, class_counts, tile_width, tile_height FROM query_table('''
        || replace(_rst_index_table(statistics, what := 'statistics'), '''', '''''') || ''')'
    )::VARCHAR)::VARCHAR;
