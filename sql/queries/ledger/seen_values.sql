-- What the store holds of the buckets that a batch of pages could have shown: the sum of each bucket's changes.
with seen as (
    select
        o.project_key,
        o.neon_period_key,
        o.grain,
        o.timeframe_start,
        sum(o.compute_unit_seconds)::bigint            as compute_unit_seconds,
        sum(o.root_branch_bytes_month)::bigint         as root_branch_bytes_month,
        sum(o.child_branch_bytes_month)::bigint        as child_branch_bytes_month,
        sum(o.instant_restore_bytes_month)::bigint     as instant_restore_bytes_month,
        sum(o.snapshot_storage_bytes_month)::bigint    as snapshot_storage_bytes_month,
        sum(o.public_network_transfer_bytes)::bigint   as public_network_transfer_bytes,
        sum(o.private_network_transfer_bytes)::bigint  as private_network_transfer_bytes,
        sum(o.extra_branches_month)::bigint            as extra_branches_month
    from observation as o
    semi join batch_projects as b on b.project_key = o.project_key
    where o.timeframe_start >= $period_start and o.timeframe_start < $period_end
      and list_contains($grains, o.grain)
    group by all
)
from seen
