-- name: _rst_is_same_row
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- True; an error where a read and the query that it is part of saw other rows of a table under one number.
CREATE OR REPLACE MACRO _rst_is_same_row(what, one, other) AS
    CASE
        WHEN one IS NOT DISTINCT FROM other THEN true
        ELSE error(what || ': got rows in another order than the read saw, expected the same each time: a table, a Parquet path, or a view '
            || 'whose order and values do not change, in a session with preserve_insertion_order. A temporary table or a registered DataFrame of '
            || 'the same name hides the table that a read sees: give the table another name')
    END;
