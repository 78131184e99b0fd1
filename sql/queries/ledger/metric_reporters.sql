-- How many projects of an organization reported each metric in the hours before a window.
select
    count(distinct project_key) filter (where compute_unit_seconds > 0)           as compute_unit_seconds,
    count(distinct project_key) filter (where root_branch_bytes_month > 0)        as root_branch_bytes_month,
    count(distinct project_key) filter (where child_branch_bytes_month > 0)       as child_branch_bytes_month,
    count(distinct project_key) filter (where instant_restore_bytes_month > 0)    as instant_restore_bytes_month,
    count(distinct project_key) filter (where snapshot_storage_bytes_month > 0)   as snapshot_storage_bytes_month,
    count(distinct project_key) filter (where public_network_transfer_bytes > 0)  as public_network_transfer_bytes,
    count(distinct project_key) filter (where private_network_transfer_bytes > 0) as private_network_transfer_bytes,
    count(distinct project_key) filter (where extra_branches_month > 0)           as extra_branches_month
from observation
semi join (select project_key from project where organization = $organization) using (project_key)
where timeframe_start >= $since and timeframe_start < $before
