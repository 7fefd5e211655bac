{% macro last_update() -%}
format_timestamp('%Y-%m-%d %H:%M:%S', current_timestamp(), 'Asia/Jakarta')
{%- endmacro %}
