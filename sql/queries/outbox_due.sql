-- What is to be sent now, oldest first. The cap per endpoint bounds memory when a whole fleet crosses at once.
select outbox.endpoint, outbox.alert_id, outbox.attempts, alert.body
from outbox
join alert using (alert_id)
where outbox.state = 'pending'
    and outbox.due_at <= $now
qualify row_number() over (partition by outbox.endpoint order by outbox.due_at, alert.seq, alert.alert_id) <= $most
order by outbox.endpoint, outbox.due_at, alert.seq, alert.alert_id
