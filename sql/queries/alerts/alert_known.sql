-- Whether an alert with this id was recorded, and of which type.
select alert_id, event_type
from alert
where alert_id = $alert_id
