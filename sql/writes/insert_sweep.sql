-- A sweep that has begun; its later pages find it there.
insert or ignore into sweep
values ($walk, $organization, $grain, $period_start, $period_end, $first_sent_at, $params)
