-- Forgets what other open sweeps left out of the buckets that a batch of pages could have shown: the batch is the later
-- sight.
delete from omission as o using batch_projects as b, sweep as s
where o.walk = s.walk and s.walk <> $walk and not o.is_applied and o.project_key = b.project_key
  and o.timeframe_start >= $period_start and o.timeframe_start < $period_end
  and list_contains($grains, o.grain)
