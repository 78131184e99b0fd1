-- What a complete walk left out of the buckets it certifies: known from the record of its end on, not from its pages.
select $seq::ubigint as seq, project_key, neon_period_key, grain, timeframe_start, metric, value
from omission
where walk = $walk
order by project_key, grain, timeframe_start, neon_period_key, metric
