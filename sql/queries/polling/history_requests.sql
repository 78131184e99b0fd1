-- How many answers of history organizations have had since a moment.
select organization, count(*) as requests
from page
where endpoint in ('history', 'batch') and sent_at >= $since and sent_at <= $now
group by organization
order by organization
