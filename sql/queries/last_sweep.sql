-- When each organization's hourly history was last read completely over (nearly) all that Neon keeps.
select organization, max(first_sent_at) as swept_at
from walk
where endpoint = 'history' and grain = 0 and is_complete and period_end - period_start >= interval 160 hour
group by organization
order by organization
