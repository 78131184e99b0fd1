-- When the last complete polling cycle began: the last in the journal, whatever the clock said before.
select arg_max(started_at, seq) as started_at from cycle where outcome = 'complete' and command in ('poll', 'tick')
