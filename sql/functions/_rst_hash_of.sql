-- name: _rst_hash_of
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The text of a scalar query that tells rows apart, whatever their order. It reads them where a condition is true.
CREATE OR REPLACE MACRO _rst_hash_of(relation, condition) AS
    '(SELECT count(*) || ''/'' || coalesce(sum(hash(rasteret_row)::HUGEINT), 0) FROM (FROM ' || relation
    || ') AS rasteret_row, (SELECT 1 WHERE ' || condition || '))';
