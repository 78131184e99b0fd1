-- The full walks of an organization's history that no cycle has ended yet, the newest first.
select walk, grain, period_start, period_end, first_sent_at, params
from sweep
where organization = $organization
order by walk desc
