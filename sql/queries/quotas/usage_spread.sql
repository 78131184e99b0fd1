-- How much the days of one weekday differ: sums of each project's daily totals and of their squares, per weekday, over
-- the same timeframes as usage_profile. A day without usage adds nothing to either. Read by the forecast.
with days as (
    select
        o.project_key,
        epoch_us(o.timeframe_start) // 86400000000 as day,
        sum(o.compute_unit_seconds)                as compute_time_seconds,
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
),
long as (
    unpivot days on compute_time_seconds, data_transfer_bytes into name quota value total
)
select
    project_key,
    quota,
    day % 7                              as weekday,
    sum(total)                           as total,
    sum(total::hugeint * total::hugeint) as squares
from long
where abs(total) < 1000000000000000000
group by all
