-- A project of an organization has one key, and so has each of Neon's billing periods.
select 'project' as of, organization, project_id as id, count(*) as keys
from project
group by organization, project_id
having count(*) > 1
union all
select 'neon_period' as of, organization, period_id as id, count(*) as keys
from neon_period
group by organization, period_id, plan, period_start
having count(*) > 1
