-- name: _rst_comparison
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The text of a query that gives true in each row, and raises an error if the session and a read see other rows of a table.
CREATE OR REPLACE MACRO _rst_comparison(what, relation) AS
    list_transform(
        -- Lambdas name what would be computed twice.
        [{'relations': _rst_relations(relation), 'error': 'error(_rst_unseen(''' || what || ''', ''' || replace(relation, '''', '''''') || '''))'}],
        lambda rst_given: coalesce(
            'SELECT CASE WHEN here.found IS DISTINCT FROM there.found THEN ' || rst_given['error'] || ' ELSE true END AS rst_same FROM ('
            || _rst_rows_seen(rst_given['relations']) || ') AS here, (SELECT error AS found FROM _rst_tile_source WHERE _call = unhex('''
            || hex(encode('rst_' || to_json({'seen': relation, 'settings': _rst_settings()})::VARCHAR)) || ''')) AS there',
            'SELECT true AS rst_same'
        ) || list_reduce(
            list_transform(
                rst_given['relations'],
                -- A view of files is compared with itself under a name that no CTE hides.
                lambda rst_each: CASE
                    WHEN NOT contains(rst_each['plan'], '"seq_scan"') AND _rst_is_bound(rst_each['plan'])
                        AND _rst_is_bound(json_serialize_plan(('FROM ' || _rst_whole_name(rst_each['relation']))::VARCHAR)::VARCHAR)
                    THEN ' UNION ALL SELECT CASE WHEN ' || _rst_hash_of(rst_each['relation'], '_rst_may_have_cte()') || ' != '
                        || _rst_hash_of(_rst_whole_name(rst_each['relation']), '_rst_may_have_cte()') || ' THEN ' || rst_given['error'] || ' ELSE true END'
                    -- What only a CTE gives.
                    WHEN NOT _rst_is_bound(rst_each['plan'])
                    THEN ' UNION ALL SELECT CASE WHEN _rst_may_have_cte() THEN ' || rst_given['error'] || ' ELSE true END'
                    ELSE ''
                END
            ),
            lambda rst_before, rst_part: rst_before || rst_part,
            ''
        )
    )[1];
