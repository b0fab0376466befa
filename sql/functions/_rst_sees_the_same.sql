-- name: _rst_sees_the_same
-- kind: scalar macro
-- grain: one value
-- reads: the rows of tables and views, where a session may see others than a read
-- True; an error where the running statement sees other rows of a table than a read, which runs beside it: those of a CTE, of a temporary table, or of a transaction. Binding takes most of its time, so it is bound for names of tables alone, and once for all arguments of a call.
CREATE OR REPLACE MACRO _rst_sees_the_same(index, points := NULL, zones := NULL, statistics := NULL, chips := NULL) AS (
    SELECT rst_same
    FROM query(
        'SELECT coalesce(bool_and(rst_same), true) AS rst_same FROM (SELECT true AS rst_same'
        || _rst_compared('index', index)
        || _rst_compared('points', points)
        || _rst_compared('zones', zones)
        || _rst_compared('statistics', statistics)
        || _rst_compared('chips', chips)
        || ')'
    )
);
