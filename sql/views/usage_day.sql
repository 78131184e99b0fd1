-- Usage per project, metric and day, from the buckets that count (coverage_day): never the same usage in two grains. In
-- days that are not certified whole, the hours seen so far; where only the month is certified, one row at its first day.
create or replace view usage_day as
with hour as (
    select organization, hour_start from coverage_hour where grain = 0
),
wide as (
    -- summed before values become rows
    select
        p.organization,
        p.project_id,
        o.grain,
        date_trunc('day', o.timeframe_start at time zone 'UTC') at time zone 'UTC' as day_start,
        d.grain is not null or h.hour_start is not null                            as is_certified,
        sum(columns(o.* exclude (seq, project_key, neon_period_key, grain, timeframe_start)))
    from observation as o
    join project as p on p.project_key = o.project_key
    left join coverage_day as d
        on d.organization = p.organization
        and d.day_start = date_trunc('day', o.timeframe_start at time zone 'UTC') at time zone 'UTC'
    left join hour as h on h.organization = p.organization and h.hour_start = o.timeframe_start
    where o.grain = coalesce(d.grain, 0)
    group by all
),
long as (
    unpivot wide on columns(* exclude (organization, project_id, grain, day_start, is_certified)) into name metric value value
    union all by name
    select
        p.organization,
        p.project_id,
        o.grain,
        date_trunc('day', o.timeframe_start at time zone 'UTC') at time zone 'UTC' as day_start,
        d.grain is not null or h.hour_start is not null                            as is_certified,
        o.metric,
        o.value
    from observation_other as o
    join project as p on p.project_key = o.project_key
    left join coverage_day as d
        on d.organization = p.organization
        and d.day_start = date_trunc('day', o.timeframe_start at time zone 'UTC') at time zone 'UTC'
    left join hour as h on h.organization = p.organization and h.hour_start = o.timeframe_start
    where o.grain = coalesce(d.grain, 0)
)
select
    organization,                                         -- Neon's id of the organization
    project_id,                                           -- Neon's id of the project
    metric,                                               -- by the API's name
    day_start,                                            -- 00:00 UTC; of a monthly row, the month's first day
    grain,                                                -- 0 hourly, 1 daily, 2 monthly: the buckets it is made of
    sum(value)                                   as value, -- all that was seen, in the API's raw unit
    coalesce(sum(value) filter (is_certified), 0) as certified_value -- what a close would count
from long
group by organization, project_id, metric, day_start, grain
having sum(value) <> 0
