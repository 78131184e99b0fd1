-- A bucket's value is what the API reported last, which is never negative; what does not count is taken off under a
-- billing period of its own.
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
where neon_period_key not in (select neon_period_key from neon_period where starts_with(period_id, 'not counted: '))
group by all
having sum(value) < 0
