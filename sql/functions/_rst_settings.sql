-- name: _rst_settings
-- kind: scalar macro
-- grain: one value
-- reads: settings and variables of the session
-- The settings and options of a session that change the results of views and of queries in text, for a read that runs beside the query.
CREATE OR REPLACE MACRO _rst_settings() AS {
    -- Options of rasteret_sql: SET VARIABLE rasteret_identity = 'size'.
    'rasteret_identity': getvariable('rasteret_identity')::VARCHAR,
    'rasteret_allow': getvariable('rasteret_allow')::VARCHAR,
    'rasteret_max_requests': getvariable('rasteret_max_requests')::VARCHAR,
    'rasteret_max_buffer_bytes': getvariable('rasteret_max_buffer_bytes')::VARCHAR,
    'rasteret_decode_threads': getvariable('rasteret_decode_threads')::VARCHAR,
    'search_path': current_setting('search_path')::VARCHAR,
    'file_search_path': current_setting('file_search_path')::VARCHAR,
    'Calendar': current_setting('Calendar')::VARCHAR,
    'TimeZone': current_setting('TimeZone')::VARCHAR,
    'binary_as_string': current_setting('binary_as_string')::VARCHAR,
    'default_collation': current_setting('default_collation')::VARCHAR,
    'default_null_order': current_setting('default_null_order')::VARCHAR,
    'default_order': current_setting('default_order')::VARCHAR,
    'disable_timestamptz_casts': current_setting('disable_timestamptz_casts')::VARCHAR,
    'enable_geoparquet_conversion': current_setting('enable_geoparquet_conversion')::VARCHAR,
    'ieee_floating_point_ops': current_setting('ieee_floating_point_ops')::VARCHAR,
    'integer_division': current_setting('integer_division')::VARCHAR,
    'order_by_non_integer_literal': current_setting('order_by_non_integer_literal')::VARCHAR,
    'preserve_insertion_order': current_setting('preserve_insertion_order')::VARCHAR,
    'scalar_subquery_error_on_multiple_rows': current_setting('scalar_subquery_error_on_multiple_rows')::VARCHAR
};
