{{ config(
    unique_key=['kafka_topic', 'kafka_partition', 'kafka_offset'],
    partition_by={'field': 'last_viewed', 'data_type': 'timestamp', 'granularity': 'month'},
    cluster_by=['product_id']
) }}

-- After the dimension, so that whoever reads the fact finds its keys there.
-- depends_on: {{ ref('dim_product') }}

select
    productId as product_id,
    viewCount as view_count,
    lastViewed as last_viewed,
    {{ last_update() }} as last_update,
    kafka_topic,
    kafka_partition,
    kafka_offset
from {{ ref('new_views') }}
