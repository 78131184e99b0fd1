-- Values above zero that a later complete read left out, and that therefore count as zero; the latest hundred.
select p.organization, p.project_id, o.timeframe_start, o.metric, o.value, o.walk
from omission as o
join project as p using (project_key)
where o.is_applied
order by o.walk desc, p.project_id, o.timeframe_start, o.metric
limit 100
