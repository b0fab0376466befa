-- name: _rst_pixel_columns
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The names and types of the columns of read_pixels that depend on its arguments, as JSON. Python checks the arguments: an error here would be no constant.
CREATE OR REPLACE MACRO _rst_pixel_columns(bands, expressions, layout) AS
    CASE
        WHEN layout = 'wide' AND len(_rst_pixel_names(bands, expressions)) > 0
            THEN '{' || array_to_string(list_transform(_rst_pixel_names(bands, expressions), lambda rst_band: to_json(rst_band)::VARCHAR || ': "DOUBLE"'), ', ') || '}'
        ELSE '{"band": "VARCHAR", "value": "DOUBLE"}'
    END;
