-- name: _rst_whole_name
-- kind: scalar macro
-- grain: one value
-- reads: the current database and schema
-- The name of a relation in the current schema, with schema and database, as text of FROM.
CREATE OR REPLACE MACRO _rst_whole_name(relation) AS
    '"' || replace(current_database(), '"', '""') || '"."' || replace(current_schema(), '"', '""') || '".'
    || CASE
        WHEN prefix(relation, 'query_table(''') THEN
            '"' || replace(trim(replace(relation[14:-3], '''''', ''''), '"'), '"', '""') || '"'
        ELSE relation
    END;
