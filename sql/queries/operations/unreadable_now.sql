-- The rows of list pages that could not be read, and that no later complete read has shown since.
select u.organization, u.project_id, u.endpoint, u.fault as reason, min(p.received_at) as since
from unreadable as u
join page as p on p.seq = u.page_seq
where u.ended_seq is null
group by u.organization, u.project_id, u.endpoint, u.fault
order by u.organization, u.project_id, u.endpoint, u.fault
