-- Usage of a stretch of time: every project's sums, whatever grain counts there, with its first and last bucket. Zeros
-- are kept: they too show that the project was there. Names are joined afterwards, to these few rows.
--
-- Up to the record $rolled_seq the sums by day are taken, where the stretch begins and ends with a day; 0 takes none.
with part as (
    select
        project_key,
        grain,
        min(timeframe_start) as first_start,
        max(timeframe_start) as last_start,
        sum(columns(* exclude (seq, project_key, neon_period_key, grain, timeframe_start)))
    from observation
    where timeframe_start >= $period_start
      and timeframe_start < $period_end
      and seq > $rolled_seq::ubigint
      and seq <= $as_of_seq::ubigint
    group by project_key, grain
    union all by name
    select * exclude (rolled_seq, day_start)
    from observation_day
    where day_start >= $period_start
      and day_start < $period_end
      and rolled_seq <= $rolled_seq::ubigint
),
wide as (
    select
        project_key,
        grain,
        min(first_start) as first_start,
        max(last_start)  as last_start,
        sum(columns(* exclude (project_key, grain, first_start, last_start)))
    from part
    group by project_key, grain
)
unpivot wide on columns(* exclude (project_key, grain, first_start, last_start)) into name metric value value
union all by name
select
    project_key,
    grain,
    min(timeframe_start) as first_start,
    max(timeframe_start) as last_start,
    metric,
    sum(value)           as value
from observation_other
where timeframe_start >= $period_start
  and timeframe_start < $period_end
  and seq <= $as_of_seq::ubigint
group by project_key, grain, metric
