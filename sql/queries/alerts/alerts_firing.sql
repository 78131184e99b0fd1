-- Crossings, stalls and failing backups that these endpoints were told of and that have not ended, in the order recorded.
with
    ended as (
        select body ->> '$.data.resolves' as alert_id
        from alert
        where event_type in ('quota.resolved', 'poll.recovered', 'backup.recovered')
    )
select
    outbox.endpoint,
    outbox.state,
    alert.alert_id,
    alert.recorded_at,
    alert.project_id,
    alert.quota,
    alert.period_start,
    alert.quota_limit,
    alert.threshold_percent,
    alert.body
from outbox
join alert using (alert_id)
left join ended using (alert_id)
where list_contains($endpoints::varchar[], outbox.endpoint)
    and alert.event_type in ('quota.threshold_reached', 'quota.exceeded', 'poll.stalled', 'backup.failing')
    and ended.alert_id is null
order by alert.seq, alert.alert_id, outbox.endpoint
