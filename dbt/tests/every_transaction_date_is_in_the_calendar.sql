select fact.transaction_id, fact.transaction_date
from {{ ref('fact_transactions') }} as fact
left join {{ ref('dim_calendar') }} as calendar
    on calendar.date_key = date(fact.transaction_date)
where fact.transaction_date is not null and calendar.date_key is null
