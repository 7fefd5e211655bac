{{ config(
    unique_key=['kafka_topic', 'kafka_partition', 'kafka_offset'],
    partition_by={'field': 'feedback_date', 'data_type': 'timestamp', 'granularity': 'month'},
    cluster_by=['product_id', 'customer_id']
) }}

-- After the dimensions, so that whoever reads the fact finds its keys there.
-- depends_on: {{ ref('dim_customer') }}
-- depends_on: {{ ref('dim_product') }}

select
    feedbackId as feedback_id,
    customerId as customer_id,
    productId as product_id,
    rating,
    comment,
    feedbackDate as feedback_date,
    kafka_topic,
    kafka_partition,
    kafka_offset
from {{ ref('new_feedback') }}
