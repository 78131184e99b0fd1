-- Usage per project and stretch of time, from the timeframes that count. `part` says, for each organization, which
-- grain counts from when to when, cut wherever a price changes.
with summed as (
    select
        p.organization,
        p.project_id,
        c.part_no,
        sum(o.compute_unit_seconds)           as compute_unit_seconds,
        sum(o.root_branch_bytes_month)        as root_branch_bytes_month,
        sum(o.child_branch_bytes_month)       as child_branch_bytes_month,
        sum(o.instant_restore_bytes_month)    as instant_restore_bytes_month,
        sum(o.snapshot_storage_bytes_month)   as snapshot_storage_bytes_month,
        sum(o.public_network_transfer_bytes)  as public_network_transfer_bytes,
        sum(o.private_network_transfer_bytes) as private_network_transfer_bytes,
        sum(o.extra_branches_month)           as extra_branches_month
    from observation as o
    join project as p on p.project_key = o.project_key
    join part as c
        on c.organization = p.organization
        and c.grain = o.grain
        and o.timeframe_start >= c.period_start
        and o.timeframe_start < c.period_end
    where o.timeframe_start >= $period_start
      and o.timeframe_start < $period_end
      and o.seq <= $as_of_seq
    group by all
),
others as (
    select p.organization, p.project_id, c.part_no, o.metric, sum(o.value) as value
    from observation_other as o
    join project as p on p.project_key = o.project_key
    join part as c
        on c.organization = p.organization
        and c.grain = o.grain
        and o.timeframe_start >= c.period_start
        and o.timeframe_start < c.period_end
    where o.timeframe_start >= $period_start
      and o.timeframe_start < $period_end
      and o.seq <= $as_of_seq
    group by all
)
select organization, project_id, part_no, metric, sum(value) as value
from (
    unpivot summed on columns(* exclude (organization, project_id, part_no)) into name metric value value
    union all by name
    from others
)
group by all
having sum(value) <> 0
