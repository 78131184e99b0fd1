-- The projects that an open sweep has listed so far.
select distinct p.project_id
from walk_project as w
join project as p using (project_key)
where w.walk = $walk
order by p.project_id
