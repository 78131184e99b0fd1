-- Every change belongs to a billing period of Neon's that is known, in the project's own organization.
with changes as (
    select distinct project_key, neon_period_key from observation
    union
    select distinct project_key, neon_period_key from observation_other
)
select c.project_key, c.neon_period_key
from changes as c
left join project as p on p.project_key = c.project_key
left join neon_period as n on n.neon_period_key = c.neon_period_key
where n.neon_period_key is null or n.organization is distinct from p.organization
