-- The message of the last stall that was announced.
select body from alert where event_type = 'poll.stalled' order by seq desc limit 1
