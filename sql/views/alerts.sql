-- Every alert ever recorded, and how its delivery stands at each endpoint that is told.
create or replace view alerts as
select
    a.alert_id,                                           -- the webhook-id, the same at every attempt
    a.event_type,                                         -- quota.threshold_reached, invoice.finalized, …
    a.recorded_at,                                        -- by the business clock
    a.status,                                             -- send | superseded by a higher threshold
    a.project_id,                                         -- null where it is about no project
    a.quota,                                              -- null where it is about no quota
    a.period_start,                                       -- of the quota's billing period
    a.quota_limit,                                        -- the quota's number
    a.threshold_percent,                                  -- 100 is "exceeded"
    o.endpoint,                                           -- null where nobody is told
    o.state,                                              -- pending | delivered | failed | disabled | abandoned
    o.attempts,                                           -- since it was recorded or sent again
    o.due_at,                                             -- of the next attempt, while it is pending
    o.delivered_at,                                       -- when the endpoint took it
    o.error                                               -- of the last attempt; empty where it went well
from alert as a
left join outbox as o using (alert_id)
