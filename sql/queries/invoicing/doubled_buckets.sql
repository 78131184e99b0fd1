-- Buckets of one project that two organizations report with the same values, metric by metric. A project that was
-- transferred has a part of an hour on each side; where both sides have all of it, one of them is wrong.
with shared as (
    select project_key, organization, project_id
    from project
    qualify count(*) over (partition by project_id) > 1
),
bucket as (
    select
        s.project_id,
        s.organization,
        o.grain,
        o.timeframe_start,
        coalesce(sum(o.compute_unit_seconds), 0)           as compute_unit_seconds,
        coalesce(sum(o.root_branch_bytes_month), 0)        as root_branch_bytes_month,
        coalesce(sum(o.child_branch_bytes_month), 0)       as child_branch_bytes_month,
        coalesce(sum(o.instant_restore_bytes_month), 0)    as instant_restore_bytes_month,
        coalesce(sum(o.snapshot_storage_bytes_month), 0)   as snapshot_storage_bytes_month,
        coalesce(sum(o.public_network_transfer_bytes), 0)  as public_network_transfer_bytes,
        coalesce(sum(o.private_network_transfer_bytes), 0) as private_network_transfer_bytes,
        coalesce(sum(o.extra_branches_month), 0)           as extra_branches_month
    from observation as o
    join shared as s using (project_key)
    where o.timeframe_start >= $since
    group by all
),
used as (
    select *
    from bucket
    where greatest(
        compute_unit_seconds, root_branch_bytes_month, child_branch_bytes_month, instant_restore_bytes_month,
        snapshot_storage_bytes_month, public_network_transfer_bytes, private_network_transfer_bytes,
        extra_branches_month
    ) > 0
)
select
    a.project_id,
    a.organization,
    b.organization         as other,
    min(a.timeframe_start) as first_start,
    count(*)               as buckets
from used as a
join used as b using (
    project_id, grain, timeframe_start, compute_unit_seconds, root_branch_bytes_month, child_branch_bytes_month,
    instant_restore_bytes_month, snapshot_storage_bytes_month, public_network_transfer_bytes,
    private_network_transfer_bytes, extra_branches_month
)
where a.organization < b.organization
group by a.project_id, a.organization, b.organization, date_trunc('month', a.timeframe_start at time zone 'UTC')
order by a.project_id, a.organization, b.organization, first_start
