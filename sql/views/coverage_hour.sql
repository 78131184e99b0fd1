-- Every certified hour of every organization, with the finest grain that certifies it. An hour that is not here is a gap.
create or replace view coverage_hour as
with hours as (
    select
        organization,
        grain,
        unnest(generate_series(period_start, period_end - interval 1 hour, interval 1 hour)) as hour_start
    from coverage_stretch
)
select
    organization,                                         -- Neon's id of the organization
    hour_start,                                           -- the hour's first moment
    min(grain)              as grain                      -- 0 hourly, 1 daily, 2 monthly
from hours
group by organization, hour_start
