-- One metric of the projects in `wanted`: all buckets of one value as one row, that stands at the first of them.
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
),
bucket as (
    select project_key, grain, timeframe_start, sum(value) as value
    from found
    where timeframe_start >= $period_start
      and timeframe_start < $period_end
      and seq <= $as_of_seq::ubigint
      and value <> 0
      and project_key in (select project_key from wanted)
    group by project_key, grain, timeframe_start
)
select
    project_key,
    grain,
    min(timeframe_start) as first_start,
    min(timeframe_start) as last_start,
    count(*)             as times,
    sum(value)           as value
from bucket
where value <> 0
group by project_key, grain, bucket.value
