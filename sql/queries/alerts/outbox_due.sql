-- What is to be sent now, to one endpoint or to all, oldest first. The cap per endpoint bounds memory when a whole fleet crosses at once.
with
    ended as (  -- what was told as begun and has ended since
        select body ->> '$.data.resolves' as alert_id
        from alert
        where event_type in ('quota.resolved', 'poll.recovered', 'backup.recovered')
    )
select
    outbox.endpoint,
    outbox.alert_id,
    outbox.attempts,
    alert.body,
    outbox.alert_id in (select ended.alert_id from ended where ended.alert_id is not null) as is_over
from outbox
join alert using (alert_id)
where outbox.state = 'pending'
    and outbox.due_at <= $now
    and ($only::varchar is null or outbox.endpoint = $only)
qualify row_number() over (partition by outbox.endpoint order by outbox.due_at, alert.seq, alert.alert_id) <= $most
order by outbox.endpoint, outbox.due_at, alert.seq, alert.alert_id
