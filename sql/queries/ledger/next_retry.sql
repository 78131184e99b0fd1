-- The earliest due time after a moment, over all queued deliveries. A delivery due earlier than that waits for a tick.
select min(due_at) as due_at from outbox where state = 'pending' and due_at > $since
