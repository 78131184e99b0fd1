-- When an organization's hourly history was last read completely over so many hours or more.
select max(first_sent_at) as swept_at
from walk
where organization = $organization
    and endpoint = 'history'
    and grain = 0
    and is_complete
    and period_end - period_start >= to_hours($hours)
