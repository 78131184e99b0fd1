-- When the last complete polling cycle began.
select max(started_at) as started_at from cycle where outcome = 'complete' and command in ('poll', 'tick')
