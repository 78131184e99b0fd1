-- The first and the last timeframe of each project in a stretch of time, as known at a record.
with seen as (
    select project_key, timeframe_start, grain from observation
    where seq <= $as_of_seq::ubigint and timeframe_start >= $period_start and timeframe_start < $period_end
    union all
    select project_key, timeframe_start, grain from observation_other
    where seq <= $as_of_seq::ubigint and timeframe_start >= $period_start and timeframe_start < $period_end
),
by_grain as (
    select project_key, grain, min(timeframe_start) as first_start, max(timeframe_start) as last_start
    from seen
    group by project_key, grain
)
select
    p.project_id,
    min(s.first_start)              as first_start,
    arg_min(s.grain, s.first_start) as first_grain,
    max(s.last_start)               as last_start,
    arg_max(s.grain, s.last_start)  as last_grain
from by_grain as s
join project as p on p.project_key = s.project_key
group by p.project_id
order by p.project_id
