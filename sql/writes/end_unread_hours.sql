-- Ends a stretch of hours that was not certified for one project: a later walk has read at least a part of it.
update unread_hours set ended_seq = $seq
where organization = $organization and project_id = $project_id and grain = $grain
  and period_start = $period_start and period_end = $period_end and ended_seq is null
