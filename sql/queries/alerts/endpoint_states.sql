-- Per endpoint: since when it is off, its address at the last attempt, what waits for it, and what of that was tried.
with
    waiting as (
        select endpoint, count(*) as pending, count(*) filter (attempts > 0) as tried
        from outbox
        where state = 'pending'
        group by endpoint
    )
select
    coalesce(endpoint.url, waiting.endpoint) as endpoint,
    endpoint.disabled_at,
    coalesce(endpoint.address, '') as address,
    coalesce(waiting.pending, 0) as pending,
    coalesce(waiting.tried, 0) as tried
from endpoint
full join waiting on waiting.endpoint = endpoint.url
order by 1
