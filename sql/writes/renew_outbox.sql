-- Makes due what waits for an endpoint that is told again, as if never tried, and what told that it was off.
update outbox
set state = 'pending', attempts = 0, due_at = $due_at::timestamptz, error = ''
where endpoint = $endpoint
    and (
        state = 'pending'
        or (
            state = 'disabled'
            and alert_id in (select alert.alert_id from alert where alert.event_type = 'delivery.failing')
        )
    )
