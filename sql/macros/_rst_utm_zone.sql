-- name: _rst_utm_zone
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- UTM zone (negative in the south) of an EPSG code: WGS 84, NAD83 and ETRS89; NULL for any other CRS.
CREATE OR REPLACE MACRO _rst_utm_zone(code) AS
    CASE
        WHEN regexp_full_match(upper(code), 'EPSG:326(0[1-9]|[1-5]\d|60)|EPSG:269(0[1-9]|1\d|2[0-3])|EPSG:258(2[89]|3[0-8])')
            THEN code[9:]::INTEGER
        WHEN regexp_full_match(upper(code), 'EPSG:327(0[1-9]|[1-5]\d|60)') THEN -code[9:]::INTEGER
    END;
