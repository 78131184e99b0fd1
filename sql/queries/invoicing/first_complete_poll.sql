-- When the first complete polling cycle began: the first in the journal, whatever the clock said later.
select arg_min(started_at, seq) as started_at from cycle where outcome = 'complete' and command in ('poll', 'tick')
