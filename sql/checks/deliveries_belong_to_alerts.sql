-- Nothing is queued or was sent that is no recorded alert, and no superseded alert is told to anybody.
select o.alert_id, o.endpoint, 'outbox' as found_in
from outbox as o
left join alert as a on a.alert_id = o.alert_id
where a.alert_id is null or a.status = 'superseded'
union all
select d.alert_id, d.endpoint, 'delivery_attempt' as found_in
from delivery_attempt as d
left join outbox as o on o.alert_id = d.alert_id and o.endpoint = d.endpoint
where o.alert_id is null
