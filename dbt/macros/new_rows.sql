{#- The rows of a staging table whose offset is above the highest one that the fact holds of the same
    topic and partition. Offsets are loaded in order, so nothing below that can still arrive; no clock is
    involved, so nothing is lost when one is wrong. -#}
{% macro new_rows(event) -%}
{%- set fact = adapter.get_relation(this.database, this.schema, 'fact_' ~ event) if execute -%}
select staged.*
from {{ source('staging', event) }} as staged
{%- if fact and not flags.FULL_REFRESH %}
left join (
    select kafka_topic, kafka_partition, max(kafka_offset) as last_offset
    from {{ fact }}
    group by kafka_topic, kafka_partition
) as loaded
    on loaded.kafka_topic = staged.kafka_topic
    and loaded.kafka_partition = staged.kafka_partition
where loaded.last_offset is null or staged.kafka_offset > loaded.last_offset
{%- endif %}
{%- endmacro %}

{#- What a dimension reads: the rows of this run, or all of staging when the dimension itself is built anew. -#}
{% macro rows_for_dimension(event) -%}
{%- set new = ref('new_' ~ event) -%}
{{ new if is_incremental() else source('staging', event) }}
{%- endmacro %}
