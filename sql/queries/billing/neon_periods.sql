-- Neon's billing periods of each project with usage in a month, as the organization's history names them.
with used as (
    select distinct project_key, neon_period_key
    from observation
    where timeframe_start >= $period_start
      and timeframe_start < $period_end
      and seq <= $as_of_seq::ubigint
)
select distinct p.project_id, n.plan as neon_plan, n.period_start
from used as u
join project as p on p.project_key = u.project_key
join neon_period as n on n.neon_period_key = u.neon_period_key
where p.organization = $organization
order by p.project_id, n.period_start
