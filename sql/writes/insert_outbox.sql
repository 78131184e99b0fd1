-- One delivery for each endpoint of each alert of a record; nothing is due at an endpoint that is disabled.
insert into outbox
with
    alerts as (select unnest(from_json($alerts, '["json"]')) as item),
    recipients as (
        select item ->> 'alert_id' as alert_id, unnest((item -> 'endpoints')::varchar[]) as url,
               (item ->> 'due_at')::timestamptz as due_at
        from alerts
    )
select
    alert_id, url, case when disabled_at is null then 'pending' else 'disabled' end, 0, due_at, null, ''
from recipients left join endpoint using (url)
