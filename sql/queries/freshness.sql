-- When each organization was last read completely, and up to which hour it is certified.
with read as (
    select
        organization,
        max(first_sent_at) filter (where endpoint = 'inventory' and is_complete) as inventory_read_at,
        max(first_sent_at) filter (where endpoint = 'history' and is_complete)   as history_read_at
    from walk
    group by organization
),
certified as (
    select organization, max(period_end) as certified_until from coverage group by organization
)
select r.organization, r.inventory_read_at, r.history_read_at, c.certified_until
from read as r
left join certified as c using (organization)
order by r.organization
