-- The value of every bucket, in long form: the last one observed. What the API left out of a certified bucket is zero.
create or replace view bucket_value as
select
    organization,                                         -- Neon's id of the organization
    project_id,                                           -- Neon's id of the project
    period_id,                                            -- Neon's billing period: a bucket may stand under two
    metric,                                               -- by the API's name
    grain,                                                -- 0 hourly, 1 daily, 2 monthly
    timeframe_start,                                      -- the bucket's first moment
    case grain
        when 0 then timeframe_start + interval 1 hour
        when 1 then ((timeframe_start at time zone 'UTC') + interval 1 day) at time zone 'UTC'
        else ((timeframe_start at time zone 'UTC') + interval 1 month) at time zone 'UTC'
    end              as timeframe_end,                    -- no longer in it
    sum(change)      as value,                            -- in the API's raw unit
    max(seq)         as seq,                              -- the journal record of the last page that changed it
    max(observed_at) as observed_at                       -- when that page was received
from observed_value
group by all
