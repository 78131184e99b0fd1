-- When the last complete inventory read of each organization began, as known at a record. A read is the list of projects
-- and, after it, the list of deleted ones. `read_at`: both were read, or Neon does not show the second one to this key;
-- `whole_at`: both were read.
with lists as (
    select
        organization,
        endpoint,
        first_sent_at,
        is_complete,
        lead(endpoint) over later    as next_endpoint,
        lead(is_complete) over later as next_is_complete,
        lead(kind) over later        as next_kind
    from walk
    where endpoint in ('inventory', 'recoverable') and seq <= $as_of_seq
    window later as (partition by organization order by seq)
)
select
    organization,
    max(first_sent_at) filter (where next_is_complete or next_kind = 'unavailable') as read_at,
    max(first_sent_at) filter (where next_is_complete)                              as whole_at
from lists
where endpoint = 'inventory' and is_complete and next_endpoint = 'recoverable'
group by organization
order by organization
