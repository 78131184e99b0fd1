-- The projects that the organization's latest complete inventory shows.
select distinct project_id, max(last_active_at) over (partition by project_id) as last_active_at
from listed
where organization = $organization
order by project_id
