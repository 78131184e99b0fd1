-- Takes what still waits for an endpoint out of its queue.
update outbox set state = 'disabled' where endpoint = $endpoint and state = 'pending'
