-- The same for the stretches of time in `stretch`, each of one project: where something of its own begins or ends.
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
        min(o.timeframe_start)                as first_start,
        max(o.timeframe_start)                as last_start,
        sum(o.compute_unit_seconds)           as compute_unit_seconds,
        sum(o.root_branch_bytes_month)        as root_branch_bytes_month,
        sum(o.child_branch_bytes_month)       as child_branch_bytes_month,
        sum(o.instant_restore_bytes_month)    as instant_restore_bytes_month,
        sum(o.snapshot_storage_bytes_month)   as snapshot_storage_bytes_month,
        sum(o.public_network_transfer_bytes)  as public_network_transfer_bytes,
        sum(o.private_network_transfer_bytes) as private_network_transfer_bytes,
        sum(o.extra_branches_month)           as extra_branches_month
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
