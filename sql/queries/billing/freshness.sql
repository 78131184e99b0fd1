-- When each organization was last read completely, up to which hour it is certified, and how fresh the history of the
-- projects that inventory lists is: the median project's last reading, the worst one's, and how many were never read.
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
),
projects as (
    select distinct l.organization, l.project_id, r.read_at
    from listed as l
    left join project as p on p.organization = l.organization and p.project_id = l.project_id
    left join project_read as r using (project_key)
),
freshness as (
    select
        organization,
        count(*)                                             as projects,
        count(*) filter (where read_at is null)              as projects_never_read,
        quantile_disc(read_at, 0.5 order by read_at desc)    as median_project_read_at,
        min(read_at)                                         as worst_project_read_at
    from projects
    group by organization
),
open_sweep as (
    select organization, max(first_sent_at) as sweep_began_at from sweep group by organization
)
select
    r.organization,
    r.inventory_read_at,
    r.history_read_at,
    c.certified_until,
    f.projects,
    f.projects_never_read,
    f.median_project_read_at,
    f.worst_project_read_at,
    s.sweep_began_at
from read as r
left join certified as c using (organization)
left join freshness as f using (organization)
left join open_sweep as s using (organization)
order by r.organization
