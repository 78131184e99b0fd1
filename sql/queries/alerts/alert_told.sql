-- The last id under which an event was recorded: its own, or that with an epoch of the store.
select alert_id from alert
where alert_id = $alert_id or starts_with(alert_id, $alert_id || '-')
order by seq desc
limit 1
