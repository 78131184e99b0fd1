-- Every project that is there, with its latest counters and the newest limits that Neon named.
with latest as (
    select organization, project_id, seq, seen_at, name, created_at, is_listed, limits
    from sighting
    where name is not null
    qualify row_number() over (partition by organization, project_id order by seq desc) = 1
),
newest as (
    select * from latest
    where is_listed
    qualify row_number() over (partition by project_id order by seq desc) = 1
)
select
    l.organization,
    l.project_id,
    coalesce(c.observed_at, l.seen_at) as observed_at,
    c.period_start,
    c.period_end,
    c.active_time_seconds,
    c.compute_time_seconds,
    c.written_data_bytes,
    c.data_transfer_bytes,
    case when c.seq is null or l.seq > c.seq then l.limits else c.limits end as limits,
    b.logical_size_bytes,
    b.observed_at                      as branches_observed_at
from newest as l
left join counter as c on c.organization = l.organization and c.project_id = l.project_id
left join branch_size as b on b.organization = l.organization and b.project_id = l.project_id
order by l.project_id
