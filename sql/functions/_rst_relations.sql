-- name: _rst_relations
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The tables and views that an index names, as text of FROM, with what json_serialize_plan says of each. Paths are none: nothing hides a file.
CREATE OR REPLACE MACRO _rst_relations(index) AS
    list_transform(
        CASE
            WHEN contains(json_serialize_sql(index::VARCHAR)::VARCHAR, '"error":false') THEN
                list_transform(
                    list_filter(
                        list_transform(
                            regexp_extract_all(
                                json_serialize_sql(index::VARCHAR)::VARCHAR,
                                '"schema_name":"(?:[^"\\]|\\.)*","table_name":"(?:[^"\\]|\\.)+","column_name_alias":\[[^\]]*\],"catalog_name":"(?:[^"\\]|\\.)*"'
                            ),
                            lambda found: list_filter(
                                json_extract_string('{' || found || '}', ['$.catalog_name', '$.schema_name', '$.table_name']),
                                lambda part: part != ''
                            )
                        ),
                        -- CTEs of the text are its own.
                        lambda path: len(path) > 1 OR NOT list_contains(json_extract_string(json_serialize_sql(index::VARCHAR), '$..key'), path[1])
                            AND NOT regexp_matches(path[1], '(?i)\.(parquet|parq|geoparquet)\b|://|[/\\*?]')
                    ),
                    lambda path: list_reduce(
                        list_transform(path, lambda part: '"' || replace(part, '"', '""') || '"'), lambda before, part: before || '.' || part
                    )
                )
            WHEN regexp_matches(index, '(?i)\.(parquet|parq|geoparquet)\b|://|[/\\*?]') AND NOT contains(index, '"') THEN []
            ELSE ['query_table(''' || replace(index, '''', '''''') || ''')']
        END,
        lambda relation: {'relation': relation, 'plan': json_serialize_plan(('FROM ' || relation)::VARCHAR)::VARCHAR}
    );
