-- Metrics of the long table (some are known ones with values beyond 63 bits), and which organization had each first.
select o.metric, arg_min(p.organization, o.seq) as organization
from observation_other as o
join project as p using (project_key)
group by o.metric
having sum(o.value) > 0
order by o.metric
