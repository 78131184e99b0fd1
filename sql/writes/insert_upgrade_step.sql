-- One word about one step of an upgrade.
insert into upgrade_step values ($seq, $at, $project_id, $plan, $step, $phase, $detail, $error)
