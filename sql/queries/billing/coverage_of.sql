-- Certified periods per organization, as known at a record; of those that were read after another.
select organization, grain, period_start, period_end
from coverage
where seq > $after and seq <= $as_of_seq
order by organization, grain, period_start, period_end
