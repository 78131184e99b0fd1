-- What projects used in each hour of the week, in the stretches and the grain in which they count by `counted`.
-- Slot 0 is Monday 00:00 UTC (1970 began on a Thursday); a day's bucket stands at its midnight. Read by the forecast.
select
    o.project_key,
    o.grain,
    (epoch_us(o.timeframe_start) // 3600000000 + 72) % 168 as slot,
    sum(o.compute_unit_seconds)                            as compute_time_seconds,
    sum(coalesce(o.public_network_transfer_bytes, 0) + coalesce(o.private_network_transfer_bytes, 0))
                                                           as data_transfer_bytes
from observation as o
join counted as c
    on c.project_key = o.project_key
    and c.grain = o.grain
    and o.timeframe_start >= c.counts_from
    and o.timeframe_start < c.counts_to
where o.timeframe_start >= $period_start
  and o.timeframe_start < $period_end
  and (o.compute_unit_seconds <> 0 or o.public_network_transfer_bytes <> 0 or o.private_network_transfer_bytes <> 0)
group by all
