-- When an organization's unit was last checked, and its last known result.
select
    max(checked_at)                                                           as checked_at,
    coalesce(arg_max(verdict, seq) filter (where verdict <> 'unknown'), '') as verdict
from unit_check
where organization = $organization
