-- What showed a change of a value: a page; or, where a complete walk left a value out, the end of that walk, which its
-- last page stands for; or somebody's word that a bucket of two organizations counts on one side, for which the last page
-- of the other stands. A change counts from this record on, so that what was known at a record never changes.
create or replace view shown_by as
with proof as (
    select w.seq, max(p.seq) as page_seq
    from walk as w
    join page as p on p.walk = w.walk
    where w.is_complete and w.walk in (select walk from omission where is_applied)
    group by w.seq
),
shown as (
    select seq, seq as page_seq from page
    union all
    select seq, page_seq from proof
    union all
    select seq, page_seq from not_counted
)
select
    s.seq,                                                -- the journal record from which on the change is known
    s.page_seq,                                           -- the journal record of the page
    p.organization,                                       -- Neon's id of the organization
    p.endpoint,                                           -- history, or batch for projects asked for by their ids
    p.received_at,                                        -- when the page was received
    p.request_id,                                         -- Neon's id of the request
    p.sha256,                                             -- the page's hash
    p.fault                                               -- why nothing of it counts; null where it counts
from shown as s
join page as p on p.seq = s.page_seq
