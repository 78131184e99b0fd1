-- The record by which the organization's last walk of each grain ended, whether or not it reached its end.
select grain, max(seq) as seq
from walk
where organization = $organization and endpoint = 'history'
group by grain
order by grain
