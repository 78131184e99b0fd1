-- When the pages of the organization's last complete hourly walk were asked for, in the order of its pages.
select sent_at
from page
where walk = (
    select max_by(walk, seq)
    from walk
    where organization = $organization and endpoint = 'history' and grain = 0 and is_complete
)
order by seq
