-- name: _rst_comparison
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The text of a query that gives a row if the session and a read see other rows of an index; none if there is nothing to compare.
CREATE OR REPLACE MACRO _rst_comparison(index) AS
    coalesce(
        'SELECT 1 FROM (' || _rst_rows_seen(index) || ') AS here, (SELECT error AS found FROM _rst_tile_source WHERE _call = unhex('''
        || hex(encode('rst_' || to_json({'seen': index, 'settings': _rst_settings()})::VARCHAR))
        || ''')) AS there WHERE here.found IS DISTINCT FROM there.found',
        'SELECT 1 WHERE false'
    ) || list_reduce(
        list_transform(
            _rst_relations(index),
            -- A view of files is compared with itself under a name that no CTE hides.
            lambda rst_each: CASE
                WHEN NOT contains(rst_each['plan'], '"seq_scan"') AND _rst_is_bound(rst_each['plan'])
                    AND _rst_is_bound(json_serialize_plan(('FROM ' || _rst_whole_name(rst_each['relation']))::VARCHAR)::VARCHAR)
                THEN ' UNION ALL SELECT 1 WHERE ' || _rst_hash_of(rst_each['relation'], '_rst_may_have_cte()') || ' != '
                    || _rst_hash_of(_rst_whole_name(rst_each['relation']), '_rst_may_have_cte()')
                -- What only a CTE gives.
                WHEN NOT _rst_is_bound(rst_each['plan']) THEN ' UNION ALL SELECT 1 WHERE _rst_may_have_cte()'
                ELSE ''
            END
        ),
        lambda rst_before, rst_part: rst_before || rst_part,
        ''
    );
