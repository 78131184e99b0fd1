-- One alarm, raised; nobody has acknowledged it.
insert into alarm (alarm_id, seq, raised_at, kind, organization, project_id, metric, summary, other, month)
values ($alarm_id, $seq, $at, $kind, $organization, $project_id, $metric, $summary, $other, $month)
