-- Makes an alert due at each of the endpoints, whether or not it was sent there before; attempts count anew.
insert into outbox
select $alert_id, unnest($endpoints::varchar[]), 'pending', 0, $due_at::timestamptz, null, ''
on conflict (alert_id, endpoint) do update
set state = 'pending', attempts = 0, due_at = excluded.due_at, error = ''
