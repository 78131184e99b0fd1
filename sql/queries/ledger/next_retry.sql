-- When the first delivery is due that was not due yet at some moment; what was due by then waits for a tick.
select min(due_at) as due_at from outbox where state = 'pending' and due_at > $since
