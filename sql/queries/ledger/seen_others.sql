-- What the long side table holds of the buckets that a batch of pages could have shown: the sum of each bucket's
-- changes.
select
    o.project_key,
    o.neon_period_key,
    o.grain,
    o.timeframe_start,
    o.metric,
    sum(o.value) as value
from observation_other as o
semi join batch_projects as b on b.project_key = o.project_key
where o.timeframe_start >= $period_start and o.timeframe_start < $period_end
  and list_contains($grains, o.grain)
group by all
having sum(o.value) <> 0
