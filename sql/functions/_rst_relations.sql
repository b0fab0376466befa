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
                            lambda rst_found: list_filter(
                                json_extract_string('{' || rst_found || '}', ['$.catalog_name', '$.schema_name', '$.table_name']),
                                lambda rst_part: rst_part != ''
                            )
                        ),
                        -- CTEs of the text are its own.
                        lambda rst_path: len(rst_path) > 1 OR NOT list_contains(json_extract_string(json_serialize_sql(index::VARCHAR), '$..key'), rst_path[1])
                            AND NOT regexp_matches(rst_path[1], '(?i)\.(parquet|parq|geoparquet)\b|://|[/\\*?]')
                    ),
                    lambda rst_path: list_reduce(
                        list_transform(rst_path, lambda rst_part: '"' || replace(rst_part, '"', '""') || '"'), lambda rst_before, rst_part: rst_before || '.' || rst_part
                    )
                )
            WHEN regexp_matches(index, '(?i)\.(parquet|parq|geoparquet)\b|://|[/\\*?]') AND NOT contains(index, '"') THEN []
            ELSE ['query_table(''' || replace(index, '''', '''''') || ''')']
        END,
        lambda rst_relation: {'relation': rst_relation, 'plan': json_serialize_plan(('FROM ' || rst_relation)::VARCHAR)::VARCHAR}
    );
