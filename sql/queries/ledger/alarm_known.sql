-- Whether an alarm exists.
select alarm_id from alarm where alarm_id = $alarm_id
