-- Every project that inventory or history knows, as it was last shown, and when it was last active and last read.
with active as (
    select organization, project_id, max(last_active_at) as last_active_at
    from listed
    group by organization, project_id
)
select
    s.organization,
    s.project_id,
    s.name,
    s.region,
    s.created_at,
    s.deleted_at,
    s.is_listed,
    a.last_active_at,
    r.read_at as history_read_at
from projects as s
left join active as a using (organization, project_id)
left join project as p using (organization, project_id)
left join project_read as r using (project_key)
order by s.project_id, s.organization
