-- When the history of each project that inventory lists was last read; null where it never was.
with seen as (
    select organization, project_id, max(last_active_at) as last_active_at
    from listed
    group by organization, project_id
)
select s.organization, s.project_id, s.last_active_at, r.read_at as history_read_at
from seen as s
left join project as p on p.organization = s.organization and p.project_id = s.project_id
left join project_read as r using (project_key)
order by s.organization, s.project_id
