-- Forgets those omissions of a walk whose values a later page of the walk reports.
delete from omission as o using reported as r
where o.walk = $walk and o.project_key = r.project_key and o.grain = r.grain
  and o.neon_period_key = r.neon_period_key and o.timeframe_start = r.timeframe_start
  and o.metric = r.metric
