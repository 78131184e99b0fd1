-- What a complete walk left out of the buckets it certifies.
select seq, project_key, neon_period_key, grain, timeframe_start, metric, value
from omission
where walk = $walk
order by seq, project_key, grain, timeframe_start, neon_period_key, metric
