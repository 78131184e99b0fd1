-- Neon's billing periods of each project with usage in a month, as the organization's history names them.
select distinct p.project_id, n.plan as neon_plan, n.period_start
from observation as o
join project as p on p.project_key = o.project_key
join neon_period as n on n.neon_period_key = o.neon_period_key
where p.organization = $organization
  and o.timeframe_start >= $period_start
  and o.timeframe_start < $period_end
  and o.seq <= $as_of_seq
order by p.project_id, n.period_start
