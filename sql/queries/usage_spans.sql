-- The first and the last timeframe of each project in a stretch of time, as known at a record.
with seen as (
    select project_key, timeframe_start, grain from observation
    where seq <= $as_of_seq and timeframe_start >= $period_start and timeframe_start < $period_end
    union all
    select project_key, timeframe_start, grain from observation_other
    where seq <= $as_of_seq and timeframe_start >= $period_start and timeframe_start < $period_end
)
select
    p.project_id,
    min(s.timeframe_start)              as first_start,
    arg_min(s.grain, s.timeframe_start) as first_grain,
    max(s.timeframe_start)              as last_start,
    arg_max(s.grain, s.timeframe_start) as last_grain
from seen as s
join project as p on p.project_key = s.project_key
group by p.project_id
order by p.project_id
