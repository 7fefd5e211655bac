{{ config(
    unique_key=['kafka_topic', 'kafka_partition', 'kafka_offset'],
    partition_by={'field': 'last_visit', 'data_type': 'timestamp', 'granularity': 'month'},
    cluster_by=['page_url']
) }}

select
    pageUrl as page_url,
    visitCount as visit_count,
    lastVisit as last_visit,
    {{ last_update() }} as last_update,
    kafka_topic,
    kafka_partition,
    kafka_offset
from {{ ref('new_traffic') }}
