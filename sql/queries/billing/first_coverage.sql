-- Organizations of which anything before a moment was certified.
select organization, min(period_start) as period_start
from coverage
group by organization
having min(period_start) < $before
order by organization
