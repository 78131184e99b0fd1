-- Says that somebody has looked at an alarm, why it stops nothing any more, and what of a double one counts.
update alarm set acknowledged_at = $at, reason = $reason, counted = $count where alarm_id = $alarm_id
