-- Ends what waits for an endpoint or of an alert; a null stands for all.
update outbox
set state = 'abandoned'
where state = 'pending'
    and ($endpoint::varchar is null or endpoint = $endpoint)
    and ($alert_id::varchar is null or alert_id = $alert_id)
