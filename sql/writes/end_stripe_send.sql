-- Stripe's answer to an item or event that was sent.
update stripe_send
set seq = $seq, state = $state, first_tried_at = null, remote_id = $remote_id, error = $error
where key = $key
