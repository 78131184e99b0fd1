-- The observations of some records, summed by project, grain and day: rows of observation_day, projects together.
select
    $seq::ubigint                       as rolled_seq,
    project_key,
    grain,
    time_bucket(interval 1 day, timeframe_start) as day_start,
    min(timeframe_start)                as first_start,
    max(timeframe_start)                as last_start,
    sum(compute_unit_seconds)           as compute_unit_seconds,
    sum(root_branch_bytes_month)        as root_branch_bytes_month,
    sum(child_branch_bytes_month)       as child_branch_bytes_month,
    sum(instant_restore_bytes_month)    as instant_restore_bytes_month,
    sum(snapshot_storage_bytes_month)   as snapshot_storage_bytes_month,
    sum(public_network_transfer_bytes)  as public_network_transfer_bytes,
    sum(private_network_transfer_bytes) as private_network_transfer_bytes,
    sum(extra_branches_month)           as extra_branches_month
from observation
where seq > $after::ubigint and seq <= $seq::ubigint
group by project_key, grain, day_start
order by project_key, grain, day_start
