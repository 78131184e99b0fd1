-- The audit trail: every change of every value, with the page that showed it. The first sight differs from nothing.
create or replace view observed_value as
with changes as (
    unpivot observation
    on columns(* exclude (seq, project_key, neon_period_key, grain, timeframe_start))
    into name metric value change
    union all by name
    select seq, project_key, neon_period_key, grain, timeframe_start, metric, value as change
    from observation_other
)
select
    p.organization,                                       -- Neon's id of the organization
    p.project_id,                                         -- Neon's id of the project
    n.period_id,                                          -- Neon's id of its own billing period
    n.plan                                  as neon_plan, -- Neon's plan in that period
    c.metric,                                             -- by the API's name
    c.grain,                                              -- 0 hourly, 1 daily, 2 monthly
    c.timeframe_start,                                    -- the bucket's first moment
    c.change,                                             -- by how much the value moved
    c.seq,                                                -- the journal record of the page, or of the end of the walk that left it out
    g.received_at                           as observed_at, -- when the page was received
    g.request_id,                                         -- Neon's id of the request
    g.sha256                                              -- the page's hash
from changes as c
join project as p using (project_key)
join neon_period as n using (neon_period_key)
join shown_by as g using (seq)
