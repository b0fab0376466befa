{% test index_check(model, check) %}
{#- A check of every index, which the plugin gives as a macro: unique_key, bbox_is_sane, ... #}
FROM check_{{ check }}('{{ model }}')
{% endtest %}
