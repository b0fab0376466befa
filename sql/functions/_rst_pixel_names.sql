-- name: _rst_pixel_names
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The names of the bands and formulas of read_pixels, at most 256: the columns of the layout wide. With coalesce in place of CASE, DuckDB would not see a constant when it creates read_pixels.
CREATE OR REPLACE MACRO _rst_pixel_names(bands, expressions) AS (
    CASE WHEN _rst_list_or_null(bands) IS NULL THEN [] ELSE _rst_list_or_null(bands) END
    || CASE WHEN expressions IS NULL THEN [] ELSE json_keys(to_json(expressions)) END
)[:256];
