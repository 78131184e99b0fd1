-- When the next delivery that waits for its time is due; what is due already waits for a tick.
select min(due_at) as due_at from outbox where state = 'pending' and due_at > $now
