-- What a silence is measured from: the last complete cycle (the last in the journal, whatever the clock said before),
-- the first cycle ever, and what the last cycle lacked.
select
    arg_max(started_at, seq) filter (where outcome = 'complete') as last_complete_at,
    arg_min(started_at, seq)                                     as first_at,
    arg_max(faults, seq)                                         as faults
from cycle
where command in ('poll', 'tick')
