-- A bucket's value is what the API reported last, which is never negative.
with long as (
    unpivot (
        select project_key, neon_period_key, grain, timeframe_start, sum(columns(* exclude (seq, project_key, neon_period_key, grain, timeframe_start)))
        from observation
        group by all
    )
    on columns(* exclude (project_key, neon_period_key, grain, timeframe_start))
    into name metric value value
    union all by name
    select project_key, neon_period_key, grain, timeframe_start, metric, value
    from observation_other
)
select project_key, neon_period_key, grain, timeframe_start, metric, sum(value) as value
from long
group by all
having sum(value) < 0
