-- Every project known at a record: its last sighting anywhere, and the first and last bucket with usage in the month.
with latest as (
    select project_id, organization, name, created_at, deleted_at, is_listed
    from sighting
    where seq <= $as_of_seq
    qualify row_number() over (partition by organization, project_id order by seq desc) = 1
),
inventory as (
    select
        project_id,
        min(created_at)                       as created_at,
        case when bool_or(is_listed) then null else max(deleted_at) end as deleted_at,
        bool_or(is_listed)                    as is_listed
    from latest
    group by project_id
),
used as (
    select
        p.project_id,
        min(o.timeframe_start)                as first_start,
        arg_min(o.grain, o.timeframe_start)   as first_grain,
        max(o.timeframe_start)                as last_start,
        arg_max(o.grain, o.timeframe_start)   as last_grain
    from observation as o
    join project as p on p.project_key = o.project_key
    where o.timeframe_start >= $period_start and o.timeframe_start < $period_end and o.seq <= $as_of_seq
    group by p.project_id
),
earlier as (
    -- whether a project that inventory never showed had usage before the month
    select distinct p.project_id
    from observation as o
    join project as p on p.project_key = o.project_key
    where o.timeframe_start < $period_start
      and o.seq <= $as_of_seq
      and p.project_id not in (select project_id from inventory)
),
later as (
    -- whether a project that is gone, nobody knows since when, had usage after the month
    select distinct p.project_id
    from observation as o
    join project as p on p.project_key = o.project_key
    where o.timeframe_start >= $period_end
      and o.seq <= $as_of_seq
      and p.project_id not in (select project_id from inventory where is_listed or deleted_at is not null)
)
select
    coalesce(i.project_id, u.project_id, e.project_id) as project_id,
    i.created_at,
    i.deleted_at,
    coalesce(i.is_listed, false)         as is_listed,
    e.project_id is not null             as was_used_before,
    l.project_id is not null             as is_used_after,
    u.first_start,
    u.first_grain,
    u.last_start,
    u.last_grain
from inventory as i
full join used as u on u.project_id = i.project_id
full join earlier as e on e.project_id = coalesce(i.project_id, u.project_id)
left join later as l on l.project_id = coalesce(i.project_id, u.project_id, e.project_id)
order by 1
