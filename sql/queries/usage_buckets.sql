-- Usage bucket by bucket, for the projects and metrics in `wanted`: where a plan changes inside the month, where an
-- allowance counts by the hour, and where a unit depends on when a page was read.
with wide as (
    select o.seq, p.organization, p.project_id, o.grain, o.timeframe_start, o.* exclude (seq, project_key, neon_period_key, grain, timeframe_start)
    from observation as o
    join project as p on p.project_key = o.project_key
    semi join (select distinct project_id from wanted) as w on w.project_id = p.project_id
    where o.timeframe_start >= $period_start
      and o.timeframe_start < $period_end
      and o.seq <= $as_of_seq
),
long as (
    unpivot wide on columns(* exclude (seq, organization, project_id, grain, timeframe_start)) into name metric value value
    union all by name
    select o.seq, p.organization, p.project_id, o.grain, o.timeframe_start, o.metric, o.value
    from observation_other as o
    join project as p on p.project_key = o.project_key
    where o.timeframe_start >= $period_start
      and o.timeframe_start < $period_end
      and o.seq <= $as_of_seq
)
select
    l.organization,
    l.project_id,
    l.grain,
    l.timeframe_start,
    l.metric,
    sum(l.value)                as value,
    max(g.received_at)          as read_at
from long as l
semi join wanted as w on w.project_id = l.project_id and w.metric = l.metric
join part as c
    on c.organization = l.organization
    and c.grain = l.grain
    and l.timeframe_start >= c.period_start
    and l.timeframe_start < c.period_end
left join page as g on g.seq = l.seq
group by all
having sum(l.value) <> 0
