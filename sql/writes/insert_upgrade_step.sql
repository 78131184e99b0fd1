-- The start or the end of one step of an upgrade.
insert into upgrade_step values ($seq, $at, $project_id, $plan, $step, $phase, $detail, $error)
