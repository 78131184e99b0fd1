-- When the history of each project was last read.
select p.organization, p.project_id, r.read_at as observed_at
from project_read as r
join project as p using (project_key)
order by p.organization, p.project_id
