-- Where each alert stands at each endpoint.
select alert_id, endpoint, state, attempts, due_at, delivered_at, error
from outbox
order by alert_id, endpoint
