-- name: _rst_wkt
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- WKT in DuckDB's spelling, from WKT, or from WKB in hexadecimal digits or as DuckDB prints a BLOB. NULL for any other text.
CREATE OR REPLACE MACRO _rst_wkt(geometry_text) AS
    CASE
        WHEN starts_with(trim(geometry_text), '\x') THEN TRY(ST_AsText(ST_GeomFromWKB(trim(geometry_text)::BLOB)))
        WHEN regexp_full_match(trim(geometry_text), '([0-9A-Fa-f]{2}){5,}')
            THEN TRY(ST_AsText(ST_GeomFromWKB(unhex(trim(geometry_text)))))
        ELSE list_filter(
            -- DuckDB rejects plus signs. Version 1.5 ignores text after a geometry, so the number of words must not decrease.
            [TRY(ST_AsText(regexp_replace(geometry_text, '([\s(,])\+', '\1', 'g')::GEOMETRY))],
            lambda rst_wkt: len(regexp_extract_all(rst_wkt, '[^\s(),]+')) >= len(regexp_extract_all(geometry_text, '[^\s(),]+'))
        )[1]
    END;
