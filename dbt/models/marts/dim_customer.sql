{{ config(unique_key='customerId', cluster_by=['customerId']) }}

-- Every customer that a fact names. Who has only left feedback is known by id alone until the first purchase.
with seen as (
    select customerId, true as has_bought from {{ rows_for_dimension('transactions') }}
    union all
    select customerId, false as has_bought from {{ rows_for_dimension('feedback') }}
),

customers as (
    select customerId, logical_or(has_bought) as has_bought
    from seen
    where customerId is not null
    group by customerId
)

select
    customers.customerId,
    if(customers.has_bought, customers.customerId, null) as customerName,
    if(customers.has_bought, concat(customers.customerId, '@gmail.com'), null) as customerEmail,
    {{ last_update() }} as last_update
from customers
{% if is_incremental() -%}
left join {{ this }} as held on held.customerId = customers.customerId
where held.customerId is null or (customers.has_bought and held.customerName is null)
{%- endif %}
