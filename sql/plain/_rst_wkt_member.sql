-- name: _rst_wkt_member
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The regular expression of a point, line or polygon in WKT, or of many of them: brackets in brackets in brackets around numbers.
CREATE OR REPLACE MACRO _rst_wkt_member() AS
    '(?i)\b(?:MULTI)?(?:POINT|LINESTRING|POLYGON)\s*(?:ZM|Z|M)?\s*'
        || '\((?:[-+.\deE\s,]|\((?:[-+.\deE\s,]|\([-+.\deE\s,]*\))*\))*\)';
