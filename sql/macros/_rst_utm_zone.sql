-- name: _rst_utm_zone
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- UTM zone (negative in the south) of an EPSG code: WGS 84, NAD83 and ETRS89; NULL for any other CRS.
CREATE OR REPLACE MACRO _rst_utm_zone(code) AS
    CASE
        WHEN NOT regexp_full_match(upper(code), 'EPSG:\d{5}') THEN NULL
        WHEN code[6:]::INTEGER BETWEEN 32601 AND 32660 THEN code[6:]::INTEGER - 32600
        WHEN code[6:]::INTEGER BETWEEN 32701 AND 32760 THEN 32700 - code[6:]::INTEGER
        WHEN code[6:]::INTEGER BETWEEN 26901 AND 26923 THEN code[6:]::INTEGER - 26900
        WHEN code[6:]::INTEGER BETWEEN 25828 AND 25838 THEN code[6:]::INTEGER - 25800
    END;
