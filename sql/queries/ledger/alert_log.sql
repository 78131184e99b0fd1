-- Every alert in the order recorded. Names, customer, plan and numbers are in the body.
select alert_id, recorded_at, event_type, status, reason, body
from alert
order by seq, alert_id
