-- The last backfill that read everything it had to; 0 where there was none.
select coalesce(max(seq), 0) as seq
from cycle
where command = 'backfill' and outcome = 'complete'
