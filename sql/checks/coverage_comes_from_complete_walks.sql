-- An hour is certified by a whole walk over history that asked for it and began at least an hour after its end.
select c.seq, c.organization, c.grain, c.period_start, c.period_end, c.walk
from coverage as c
left join walk as w on w.walk = c.walk
where w.walk is null
    or not w.is_complete
    or w.endpoint <> 'history'
    or w.organization <> c.organization
    or c.grain < w.grain
    or c.period_start < w.period_start
    or c.period_end > w.period_end
    or c.period_end > w.first_sent_at - interval 1 hour
