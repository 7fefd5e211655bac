{{ config(
    unique_key=['kafka_topic', 'kafka_partition', 'kafka_offset'],
    partition_by={'field': 'transaction_date', 'data_type': 'timestamp', 'granularity': 'month'},
    cluster_by=['product_id', 'customer_id']
) }}

-- After the dimensions, so that whoever reads the fact finds its keys there.
-- depends_on: {{ ref('dim_calendar') }}
-- depends_on: {{ ref('dim_customer') }}
-- depends_on: {{ ref('dim_product') }}

select
    transactionId as transaction_id,
    productId as product_id,
    productQuantity as product_quantity,
    customerId as customer_id,
    totalAmount as total_amount,
    currency,
    paymentMethod,
    transactionDate as transaction_date,
    {{ last_update() }} as last_update,
    kafka_topic,
    kafka_partition,
    kafka_offset
from {{ ref('new_transactions') }}
