-- name: _rst_rows_seen
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The text of a query whose one value tells rows of the relations of `_rst_relations` apart: a read runs it beside the query that it is part of, and compares. NULL where there is nothing to compare.
CREATE OR REPLACE MACRO _rst_rows_seen(relations) AS
    'SELECT concat_ws('' '', ' || list_reduce(
        nullif(
            list_transform(
                -- What no session finds is explained by the read.
                list_filter(relations, lambda rst_each: _rst_is_bound(rst_each['plan'])),
                lambda rst_each: CASE
                    -- Rows that are drawn differ each time; the plan has the names of their tables.
                    WHEN regexp_matches(rst_each['plan'], '"(LOGICAL_SAMPLE|random|uuid|gen_random_uuid|uuidv4|uuidv7)"')
                        THEN '''' || md5(rst_each['plan']) || ''''
                    WHEN contains(rst_each['plan'], '"seq_scan"') THEN _rst_hash_of(rst_each['relation'], 'true')
                    WHEN contains(rst_each['plan'], '"error":false') THEN '''' || md5(rst_each['plan']) || ''''
                    -- Views of files are not read for this, unless they may also read a table.
                    ELSE _rst_hash_of(
                        rst_each['relation'], '_rst_may_read_tables(''' || replace(rst_each['relation'], '''', '''''') || ''')'
                    )
                END
            ),
            []
        ),
        lambda rst_before, rst_part: rst_before || ', ' || rst_part
    ) || ') AS found';
