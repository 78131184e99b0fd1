-- What still counts, on the side of one organization, of a project's buckets that another reports in full as well, or
-- that were taken off that side before (under billing periods called `not counted: …`) and have changed since.
with side as (
    select o.*, p.organization, n.period_id, n.plan, n.period_start, n.period_end
    from observation as o
    join project as p on p.project_key = o.project_key
    join neon_period as n on n.neon_period_key = o.neon_period_key
    where p.project_id = $project_id
      and p.organization in ($organization, $other)
      and o.timeframe_start >= $since
      and o.timeframe_start < $before
),
shown as (
    select
        organization,
        grain,
        timeframe_start,
        [
            coalesce(sum(compute_unit_seconds), 0),
            coalesce(sum(root_branch_bytes_month), 0),
            coalesce(sum(child_branch_bytes_month), 0),
            coalesce(sum(instant_restore_bytes_month), 0),
            coalesce(sum(snapshot_storage_bytes_month), 0),
            coalesce(sum(public_network_transfer_bytes), 0),
            coalesce(sum(private_network_transfer_bytes), 0),
            coalesce(sum(extra_branches_month), 0)
        ] as amounts
    from side
    where not starts_with(period_id, $prefix)
    group by organization, grain, timeframe_start
),
doubled as (
    select a.grain, a.timeframe_start
    from shown as a
    join shown as b using (grain, timeframe_start, amounts)
    where a.organization = $organization and b.organization = $other and list_max(a.amounts) > 0
    union
    select grain, timeframe_start
    from side
    where organization = $organization and starts_with(period_id, $prefix)
),
mine as (
    select s.*
    from side as s
    semi join doubled as d using (grain, timeframe_start)
    where s.organization = $organization
),
long as (
    unpivot (select * exclude (organization, project_key, neon_period_key) from mine)
    on columns(* exclude (seq, grain, timeframe_start, period_id, plan, period_start, period_end))
    into name metric value value
    union all by name
    select o.seq, o.grain, o.timeframe_start, n.period_id, n.plan, n.period_start, n.period_end, o.metric, o.value
    from observation_other as o
    join project as p on p.project_key = o.project_key
    join neon_period as n on n.neon_period_key = o.neon_period_key
    semi join doubled as d on d.grain = o.grain and d.timeframe_start = o.timeframe_start
    where p.project_id = $project_id and p.organization = $organization
)
select
    replace(period_id, $prefix, '') as period_id,
    plan,
    period_start,
    max(period_end)                 as period_end,
    grain,
    timeframe_start,
    metric,
    sum(value)                      as value,
    max(g.page_seq)                 as page_seq
from long as l
left join shown_by as g on g.seq = l.seq
group by replace(period_id, $prefix, ''), plan, period_start, grain, timeframe_start, metric
having sum(value) <> 0
order by timeframe_start, grain, period_id, plan, metric
