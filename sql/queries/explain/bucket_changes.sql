-- How the buckets that count came to their values: every change with the page that showed it, for the projects and
-- metrics in `wanted`, in the grain that counts by `part`. Read by `explain`.
with wide as (
    select
        o.seq, p.organization, p.project_id, o.neon_period_key, o.grain, o.timeframe_start,
        o.* exclude (seq, project_key, neon_period_key, grain, timeframe_start)
    from observation as o
    join project as p on p.project_key = o.project_key
    semi join (select distinct project_id from wanted) as w on w.project_id = p.project_id
    where o.timeframe_start >= $period_start
      and o.timeframe_start < $period_end
      and o.seq <= $as_of_seq
),
long as (
    unpivot wide on columns(* exclude (seq, organization, project_id, neon_period_key, grain, timeframe_start))
    into name metric value change
    union all by name
    select o.seq, p.organization, p.project_id, o.neon_period_key, o.grain, o.timeframe_start, o.metric, o.value as change
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
    l.neon_period_key,
    n.period_id,
    n.plan as neon_plan,
    l.change,
    g.page_seq as seq,
    g.sha256,
    g.request_id,
    g.received_at,
    case when d.last_seq >= g.page_seq then d.dropped_at end as dropped_at
from long as l
semi join wanted as w on w.project_id = l.project_id and w.metric = l.metric
join part as c
    on c.organization = l.organization
    and c.grain = l.grain
    and l.timeframe_start >= c.period_start
    and l.timeframe_start < c.period_end
join neon_period as n on n.neon_period_key = l.neon_period_key
join shown_by as g on g.seq = l.seq
asof left join dropped_pages as d on d.first_seq <= g.page_seq
order by l.project_id, l.timeframe_start, l.metric, l.organization, n.period_id, l.seq
