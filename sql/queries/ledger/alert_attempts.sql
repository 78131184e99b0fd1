-- Every attempt to deliver, in order.
select alert_id, endpoint, attempt, attempted_at, outcome, status, error, next_attempt_at
from delivery_attempt
order by alert_id, seq
