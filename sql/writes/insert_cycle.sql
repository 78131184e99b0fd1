-- One cycle of polling that has ended, with what it asked, found and could not do.
insert into cycle
values ($seq, $command, $started_at, $ended_at, $requests, $pages, $changes, $outcome, $faults)
