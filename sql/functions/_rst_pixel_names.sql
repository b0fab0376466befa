-- name: _rst_pixel_names
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The names of the bands and formulas of read_pixels, at most 256: the columns of the layout wide. Names that repeat are none: Python says why. With coalesce in place of CASE, DuckDB would not see a constant when it creates read_pixels.
CREATE OR REPLACE MACRO _rst_pixel_names(bands, expressions) AS
    list_transform(
        [
            CASE WHEN _rst_list_or_null(bands) IS NULL THEN [] ELSE _rst_list_or_null(bands) END
            || CASE WHEN expressions IS NULL THEN [] ELSE json_keys(to_json(expressions)) END
        ],
        lambda rst_names: CASE
            WHEN len(list_distinct(list_transform(rst_names, lambda rst_name: lower(rst_name)))) < len(rst_names) THEN []
            ELSE rst_names[:256]
        END
    )[1];
