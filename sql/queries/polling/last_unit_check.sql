-- When an organization's unit was looked at last, and what it was when that last could be said.
select
    max(checked_at)                                                           as checked_at,
    coalesce(arg_max(verdict, seq) filter (where verdict <> 'unknown'), '') as verdict
from unit_check
where organization = $organization
