-- One attempt to deliver an alert to an endpoint, and how it ended.
insert into delivery_attempt
values (
    $seq, $alert_id, $endpoint, $attempt, $at::timestamptz, $outcome, $status, $error, $next_attempt_at::timestamptz
)
