-- Brings a delivery up to date after an attempt. Without a next attempt it keeps the moment at which it was due.
update outbox
set state = $state, attempts = $attempt, error = $error,
    due_at = coalesce($next_attempt_at::timestamptz, due_at),
    delivered_at = case when $state = 'delivered' then $at::timestamptz else delivered_at end
where alert_id = $alert_id and endpoint = $endpoint
