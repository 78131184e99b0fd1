-- Endpoints that are off, or whose deliveries were given up since the last one that arrived: since when, and why.
with
    heard as (  -- up to which record nothing counts: it arrived, or somebody enabled the endpoint
        select endpoint, max(seq) as seq
        from (
            select endpoint, seq from delivery_attempt where outcome = 'delivered'
            union all
            select url, enabled_seq from endpoint
        ) as sound
        group by endpoint
    ),
    ends as (
        select a.endpoint, min(a.attempted_at) as since, arg_max(a.error, a.seq) as error
        from delivery_attempt as a
        left join heard using (endpoint)
        where (a.outcome in ('failed', 'disabled') or (a.outcome = 'refused' and a.next_attempt_at is null))
            and a.seq > coalesce(heard.seq, 0)
        group by a.endpoint
    )
select
    ends.endpoint,
    case when endpoint.disabled_at is null then 'exhausted' else 'disabled' end as state,
    ends.since,
    ends.error,
    (
        select count(*) from outbox
        where outbox.endpoint = ends.endpoint and outbox.state in ('pending', 'failed', 'disabled')
    ) as undelivered
from ends
left join endpoint on endpoint.url = ends.endpoint
order by ends.endpoint
