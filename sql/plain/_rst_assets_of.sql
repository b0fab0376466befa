-- name: _rst_assets_of
-- kind: scalar macro
-- grain: one value
-- reads: the columns of a table
-- Substitute without Python: an error for assets without headers, which Python reads; NULL for all others.
CREATE OR REPLACE MACRO _rst_assets_of(index) AS
    CASE
        WHEN regexp_matches(index::VARCHAR, '(?i)\.(tiff?|json|geojson|ndjson|jsonl|geojsonl)$') OR _rst_has_no_headers(index)
            THEN error('index: ''' || index::VARCHAR || ''' has no headers, expected rows of an index. Plain SQL reads no headers: build an '
                || 'index with `rasteret-sql build`, or run this in Python after rasteret_sql.install(con)')::VARCHAR
    END;
