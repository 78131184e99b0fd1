-- Once a walk has ended, what it left out is either applied or forgotten.
select o.walk, count(*) as rows
from omission as o
join walk as w on w.walk = o.walk
where not o.is_applied or not w.is_complete
group by o.walk
