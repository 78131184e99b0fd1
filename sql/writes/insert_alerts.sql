-- The alerts of one record. One statement for the whole batch: a fleet may cross a threshold at once, and row by row
-- inserts are slow.
insert into alert
select
    item ->> 'alert_id', $seq, $at::timestamptz, item ->> 'event_type', item ->> 'status', item ->> 'reason',
    item ->> 'project_id', item ->> 'quota', (item ->> 'period_start')::timestamptz, (item ->> 'quota_limit')::hugeint,
    (item ->> 'threshold_percent')::integer, item ->> 'body'
from (select unnest(from_json($alerts, '["json"]')) as item)
