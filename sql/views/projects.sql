-- Every project as inventory showed it last, and projects that only history knows.
create or replace view projects as
with latest as (
    select *
    from sighting
    qualify row_number() over (partition by organization, project_id order by seq desc) = 1
),
first as (
    select organization, project_id, min(seen_at) as first_seen_at
    from sighting
    group by organization, project_id
)
select
    coalesce(l.organization, p.organization) as organization, -- Neon's id of the organization
    coalesce(l.project_id, p.project_id)     as project_id,   -- Neon's id of the project
    l.name,                                               -- as last shown; null where inventory never showed it
    l.region,                                             -- Neon's id of the region
    l.created_at,                                         -- by Neon's word
    l.deleted_at,                                         -- by Neon's word; null where it was not told
    coalesce(l.is_listed, false)             as is_listed, -- whether the last complete inventory lists it
    f.first_seen_at,                                      -- when inventory first showed it
    l.seen_at                                as changed_at, -- when any of this last changed
    l.limits                                              -- its quota at Neon, as JSON; 0 or absent is unlimited
from latest as l
full join project as p on p.organization = l.organization and p.project_id = l.project_id
left join first as f on f.organization = l.organization and f.project_id = l.project_id
