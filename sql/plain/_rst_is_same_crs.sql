-- name: _rst_is_same_crs
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Whether coordinates in one CRS are coordinates in the other.
CREATE OR REPLACE MACRO _rst_is_same_crs(one, other) AS
    upper(one) = upper(other) OR (_rst_is_lonlat(one) AND _rst_is_lonlat(other));
