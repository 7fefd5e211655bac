{{ config(unique_key='date_key') }}

with dates as (
    select distinct date(transactionDate) as date_key
    from {{ rows_for_dimension('transactions') }}
    where transactionDate is not null
)

select
    dates.date_key,
    extract(year from dates.date_key) as year,
    extract(month from dates.date_key) as month,
    extract(day from dates.date_key) as day,
    extract(quarter from dates.date_key) as quarter,
    {{ last_update() }} as last_update
from dates
{% if is_incremental() -%}
left join {{ this }} as held on held.date_key = dates.date_key
where held.date_key is null
{%- endif %}
