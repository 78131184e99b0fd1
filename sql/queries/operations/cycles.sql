-- The last runs of poll, backfill and tick, the latest first.
select command, started_at, ended_at, requests, pages, changes, outcome, faults
from cycle
order by seq desc
limit $most
