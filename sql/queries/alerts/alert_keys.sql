-- Keys of the crossings alerted since a moment: a crossing with one of these keys is never alerted again.
select project_id, quota, period_start, quota_limit, threshold_percent
from alert
where quota is not null
    and period_start >= $since
