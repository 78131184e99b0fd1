-- The endpoints for which something is due.
select distinct endpoint
from outbox
where state = 'pending'
    and due_at <= $now
order by endpoint
