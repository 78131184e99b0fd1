-- Hours that are certified for an organization but not for one of its projects, as known at a record.
select organization, project_id, grain, period_start, period_end, fault
from unread_hours
where seq <= $as_of_seq and (ended_seq is null or ended_seq > $as_of_seq)
order by organization, project_id, grain, period_start, period_end
