{% macro write_to_file(relation, location, options) -%}
  {#- In place of dbt-duckdb's, which writes over the index before its new rows are checked: where an index is, rows are
      written beside it, and the plugin puts a new one in its place. -#}
  {%- if config.get('plugin') == 'rasteret_sql' -%}
    {%- if run_query("FROM glob('" ~ location ~ "')") | length > 0 -%}
      {%- set location = location ~ '.rows' -%}
    {%- endif -%}
    {%- set options = options ~ ", kv_metadata {dbt_invocation_id: '" ~ invocation_id ~ "'}" -%}
  {%- endif -%}
  {%- call statement('write_to_file') -%}
    COPY {{ relation }} TO '{{ location }}' ({{ options }})
  {%- endcall -%}
{%- endmacro %}
