-- Usage of the stretches of time in `stretch`, each of one project, for projects whose own times begin or end inside a
-- month: summed like usage_sums.
with seen as (
    select *
    from observation
    where timeframe_start >= $period_start
      and timeframe_start < $period_end
      and seq <= $as_of_seq::ubigint
      and project_key in (select project_key from stretch)
),
wide as (
    select
        s.stretch_no,
        o.project_key,
        o.grain,
        min(o.timeframe_start) as first_start,
        max(o.timeframe_start) as last_start,
        sum(columns(o.* exclude (seq, project_key, neon_period_key, grain, timeframe_start)))
    from seen as o
    join stretch as s
        on s.project_key = o.project_key
        and o.timeframe_start >= s.period_start
        and o.timeframe_start < s.period_end
    group by s.stretch_no, o.project_key, o.grain
)
unpivot wide on columns(* exclude (stretch_no, project_key, grain, first_start, last_start)) into name metric value value
union all by name
select
    s.stretch_no,
    o.project_key,
    o.grain,
    min(o.timeframe_start) as first_start,
    max(o.timeframe_start) as last_start,
    o.metric,
    sum(o.value)           as value
from observation_other as o
join stretch as s
    on s.project_key = o.project_key
    and o.timeframe_start >= s.period_start
    and o.timeframe_start < s.period_end
where o.seq <= $as_of_seq::ubigint
group by s.stretch_no, o.project_key, o.grain, o.metric
