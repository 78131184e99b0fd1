-- The last run of poll, backfill or tick.
select command, started_at, ended_at, requests, pages, changes, outcome, faults from cycle order by seq desc limit 1
