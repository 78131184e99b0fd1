-- Certified periods per organization, as known at a record.
select organization, grain, period_start, period_end
from coverage
where seq <= $as_of_seq
order by organization, grain, period_start, period_end
