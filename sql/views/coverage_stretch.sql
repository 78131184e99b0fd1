-- What complete reads have certified, as stretches that neither meet nor overlap, per organization and grain.
create or replace view coverage_stretch as
with reached as (
    select
        organization,
        grain,
        period_start,
        period_end,
        max(period_end) over (
            partition by organization, grain
            order by period_start, period_end
            rows between unbounded preceding and 1 preceding
        ) as reached_before
    from coverage
),
numbered as (
    select
        *,
        count(*) filter (where reached_before is null or period_start > reached_before) over (
            partition by organization, grain
            order by period_start, period_end
            rows unbounded preceding
        ) as stretch_no
    from reached
)
select
    organization,                                         -- Neon's id of the organization
    grain,                                                -- 0 hourly, 1 daily, 2 monthly
    min(period_start) as period_start,                    -- in it
    max(period_end)   as period_end                       -- no longer in it
from numbered
group by organization, grain, stretch_no
