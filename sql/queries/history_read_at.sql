-- When each organization's history was last read.
select organization, max(received_at) as observed_at
from page
where endpoint = 'history' and fault is null
group by organization
order by organization
