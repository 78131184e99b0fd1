-- An hourly bucket begins at an hour, a daily one at 00:00 UTC, a monthly one at 00:00 UTC of a first day.
with starts as (
    select distinct grain, timeframe_start from observation
    union
    select distinct grain, timeframe_start from observation_other
)
select grain, timeframe_start
from starts
where timeframe_start at time zone 'UTC' <> date_trunc(
    case grain when 0 then 'hour' when 1 then 'day' else 'month' end,
    timeframe_start at time zone 'UTC'
)
