-- A change of one project's quotas: what was asked of Neon, and how that ended.
insert into quota_change
values ($seq, $at, $organization, $project_id, $plan, $phase, $quotas, $reason, $error)
