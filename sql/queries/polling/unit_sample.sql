-- Projects whose root storage is known for each of these hours and did not jump: the largest say most clearly what unit
-- it is.
with hours as (
    select p.project_id, o.timeframe_start, sum(o.root_branch_bytes_month) as value
    from observation as o
    join project as p using (project_key)
    where p.organization = $organization
      and o.grain = 0
      and o.timeframe_start >= $start
      and o.timeframe_start < $end
    group by p.project_id, o.timeframe_start
    having sum(o.root_branch_bytes_month) > 0
)
select project_id, sum(value) as value
from hours
group by project_id
having count(*) = $hours and max(value) <= 2 * min(value)
order by sum(value) desc, project_id
limit $most
