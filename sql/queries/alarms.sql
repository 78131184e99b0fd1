-- Every alarm, the open ones first.
select alarm_id, kind, organization, project_id, metric, summary, raised_at, acknowledged_at, reason
from alarm
order by acknowledged_at is not null, seq
