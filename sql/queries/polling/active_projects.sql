-- Projects that may have used something since their history was last read, the longest unread first: their compute ran
-- since, by inventory, or history showed hours in use that ended no earlier than an hour before. A project that was
-- never read counts as read a day ago.
with seen as (
    select project_id, max(last_active_at) as last_active_at
    from listed
    where organization = $organization
    group by project_id
),
moved as (
    select project_key, max(timeframe_start) + interval 1 hour as moved_until
    from observation
    where grain = 0
        and timeframe_start >= $moved_since
        and (compute_unit_seconds <> 0 or public_network_transfer_bytes <> 0 or private_network_transfer_bytes <> 0)
    group by project_key
)
select s.project_id, r.read_at
from seen as s
left join project as p on p.organization = $organization and p.project_id = s.project_id
left join project_read as r using (project_key)
left join moved as m using (project_key)
where greatest(s.last_active_at, m.moved_until)
    > coalesce(r.read_at, $now::timestamptz - interval 1 day) - interval 1 hour
order by r.read_at nulls first, s.project_id
