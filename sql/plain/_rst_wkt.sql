-- name: _rst_wkt
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- A geometry in a text as WKT: WKB, in hexadecimal digits or as DuckDB prints a BLOB, is decoded; other text is left as it is.
CREATE OR REPLACE MACRO _rst_wkt(geometry_text) AS
    CASE
        WHEN starts_with(trim(geometry_text), '\x') THEN TRY(ST_AsText(ST_GeomFromWKB(trim(geometry_text)::BLOB)))
        WHEN regexp_full_match(trim(geometry_text), '([0-9A-Fa-f]{2}){5,}')
            THEN TRY(ST_AsText(ST_GeomFromWKB(unhex(trim(geometry_text)))))
        ELSE geometry_text
    END;
