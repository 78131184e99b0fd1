-- Every alarm, the open ones first.
select alarm_id, kind, organization, other, project_id, metric, month, summary, raised_at, acknowledged_at, reason, counted
from alarm
order by acknowledged_at is not null, seq
