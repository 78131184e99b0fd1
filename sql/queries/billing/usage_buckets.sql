-- One metric of the projects in `wanted`, bucket by bucket, or by the day where $length microseconds are one. `seq` is the
-- last page that changed it; where the unit depends on when a page was read, one that changed the bucket at all.
with found as (
    select
        project_key,
        grain,
        timeframe_start,
        seq,
        case $metric
            when 'compute_unit_seconds' then compute_unit_seconds
            when 'root_branch_bytes_month' then root_branch_bytes_month
            when 'child_branch_bytes_month' then child_branch_bytes_month
            when 'instant_restore_bytes_month' then instant_restore_bytes_month
            when 'snapshot_storage_bytes_month' then snapshot_storage_bytes_month
            when 'public_network_transfer_bytes' then public_network_transfer_bytes
            when 'private_network_transfer_bytes' then private_network_transfer_bytes
            when 'extra_branches_month' then extra_branches_month
        end as value
    from observation
    union all
    select project_key, grain, timeframe_start, seq, value
    from observation_other
    where metric = $metric
)
select
    project_key,
    grain,
    min(timeframe_start) as first_start,
    max(timeframe_start) as last_start,
    max(seq)             as seq,
    sum(value)           as value
from found
where timeframe_start >= $period_start
  and timeframe_start < $period_end
  and seq <= $as_of_seq::ubigint
  and (value <> 0 or ($with_unchanged and value is not null))
  and project_key in (select project_key from wanted)
group by project_key, grain, epoch_us(timeframe_start) // $length
having sum(value) <> 0
