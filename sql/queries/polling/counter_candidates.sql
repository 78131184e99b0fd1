-- Projects whose quota counters could be read, with what is known of their use.
with latest as (
    select organization, project_id, is_listed, has_settings, limits, name
    from sighting
    where organization = $organization and name is not null
    qualify row_number() over (partition by project_id order by seq desc) = 1
),
active as (
    select project_id, max(last_active_at) as last_active_at
    from listed
    where organization = $organization
    group by project_id
),
moved as (
    -- history that came in since the counter was read
    select p.project_id, max(g.received_at) as moved_at
    from observation as o
    join page as g using (seq)
    join project as p using (project_key)
    where p.organization = $organization and o.timeframe_start >= $since and o.compute_unit_seconds <> 0
    group by p.project_id
)
select
    l.project_id,
    l.has_settings,
    l.limits,
    c.observed_at,
    c.period_start,
    c.period_end,
    c.active_time_seconds,
    c.compute_time_seconds,
    c.written_data_bytes,
    c.data_transfer_bytes,
    c.limits                        as counter_limits,
    b.observed_at                   as branches_observed_at,
    greatest(a.last_active_at, m.moved_at) as moved_at
from latest as l
left join counter as c on c.organization = l.organization and c.project_id = l.project_id
left join branch_size as b on b.organization = l.organization and b.project_id = l.project_id
left join active as a on a.project_id = l.project_id
left join moved as m on m.project_id = l.project_id
where l.is_listed
order by l.project_id
