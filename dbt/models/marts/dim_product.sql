{{ config(unique_key='productId', cluster_by=['productId']) }}

-- Every product that a fact names, as its latest transaction describes it; without one, by id alone.
-- Batches of different Kafka partitions come in any order, so the position of the row that described the
-- product is kept: an older row that is loaded later does not win.
with seen as (
    select
        productId, productName, productPrice, productCategory, productBrand,
        coalesce(kafka_timestamp, timestamp_micros(0)) as kafka_timestamp, kafka_partition, kafka_offset
    from {{ rows_for_dimension('transactions') }}
    union all
    select productId, null, null, null, null, null, null, null from {{ rows_for_dimension('feedback') }}
    union all
    select productId, null, null, null, null, null, null, null from {{ rows_for_dimension('views') }}
),

products as (
    select *
    from seen
    where productId is not null
    qualify row_number() over (
        partition by productId
        order by kafka_timestamp desc, kafka_partition desc, kafka_offset desc
    ) = 1
)

select
    products.productId,
    products.productName,
    products.productPrice,
    products.productCategory,
    products.productBrand,
    {{ last_update() }} as last_update,
    products.kafka_timestamp,
    products.kafka_partition,
    products.kafka_offset
from products
{% if is_incremental() -%}
left join {{ this }} as held on held.productId = products.productId
where
    held.productId is null
    or (products.kafka_timestamp is not null and held.kafka_timestamp is null)
    or products.kafka_timestamp > held.kafka_timestamp
    or (
        products.kafka_timestamp = held.kafka_timestamp
        and (
            products.kafka_partition > held.kafka_partition
            or (products.kafka_partition = held.kafka_partition and products.kafka_offset > held.kafka_offset)
        )
    )
{%- endif %}
