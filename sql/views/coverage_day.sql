-- Which buckets count for each day of each organization: hourly ones where all its hours are certified hourly, else its
-- daily one, and where a month has a day that is known neither way, the monthly one for the whole month.
create or replace view coverage_day as
with span as (
    select
        organization,
        date_trunc('month', min(period_start) at time zone 'UTC')                  as first_month,
        date_trunc('month', max(period_end) at time zone 'UTC') + interval 1 month as behind
    from coverage_stretch
    group by organization
),
calendar as (
    select organization, unnest(generate_series(first_month, behind - interval 1 day, interval 1 day)) as day
    from span
),
bounded as (
    select
        organization,
        day at time zone 'UTC'                                                as day_start,
        (day + interval 1 day) at time zone 'UTC'                             as day_end,
        date_trunc('month', day) at time zone 'UTC'                           as month_start,
        (date_trunc('month', day) + interval 1 month) at time zone 'UTC'      as month_end
    from calendar
),
known as (
    select
        b.organization,
        b.day_start,
        b.day_end,
        b.month_start,
        b.month_end,
        min(c.grain) filter (where c.period_start <= b.day_start and c.period_end >= b.day_end and c.grain < 2)
            as day_grain,
        coalesce(bool_or(c.grain = 2 and c.period_start <= b.month_start and c.period_end >= b.month_end), false)
            as is_month_known
    from bounded as b
    left join coverage_stretch as c
        on c.organization = b.organization
        and c.period_start < b.month_end
        and c.period_end > b.month_start
    group by all
),
counted as (
    select
        *,
        is_month_known and bool_or(day_grain is null) over (partition by organization, month_start) as is_monthly
    from known
)
select
    organization,                                         -- Neon's id of the organization
    day_start,                                            -- 00:00 UTC
    case when is_monthly then 2 else day_grain end::utinyint as grain -- 0, 1, 2; null where the day is not certified
from counted
