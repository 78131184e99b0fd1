-- The observations of some records, summed by project, grain and day: rows of observation_day, projects together.
select
    $seq::ubigint                                as rolled_seq,
    project_key,
    grain,
    time_bucket(interval 1 day, timeframe_start) as day_start,
    min(timeframe_start)                         as first_start,
    max(timeframe_start)                         as last_start,
    sum(columns(* exclude (seq, project_key, neon_period_key, grain, timeframe_start)))
from observation
where seq > $after::ubigint and seq <= $seq::ubigint
group by project_key, grain, day_start
order by project_key, grain, day_start
