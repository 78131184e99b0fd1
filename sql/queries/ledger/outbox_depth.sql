-- How much is still to be delivered, and since when it is due.
select endpoint, count(*) as pending, min(due_at) as oldest_due_at, max(attempts) as most_attempts
from outbox
where state = 'pending'
group by endpoint
order by endpoint
