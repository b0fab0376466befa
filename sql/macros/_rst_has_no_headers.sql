-- name: _rst_has_no_headers
-- kind: scalar macro
-- grain: one value
-- reads: the columns of a table or view
-- Whether a name is that of a table with an href and without headers. False for paths, and where the session does not tell.
CREATE OR REPLACE MACRO _rst_has_no_headers(relation) AS
    CASE
        WHEN regexp_matches(relation::VARCHAR, '(?i)\.(parquet|parq|geoparquet)\b|://|[/\\*?]') THEN false
        ELSE list_transform(
            [lower(json_serialize_plan(('FROM query_table(''' || replace(relation::VARCHAR, '''', '''''') || ''')')::VARCHAR)::VARCHAR)],
            lambda rst_plan: contains(rst_plan, '"error":false') AND contains(rst_plan, '"href"') AND NOT contains(rst_plan, '"reach"')
        )[1]
    END;
