-- The store holds nothing of a journal record behind its position.
with held as (
    select 'page' as table_name, max(seq) as seq from page
    union all select 'walk', max(seq) from walk
    union all select 'coverage', max(seq) from coverage
    union all select 'observation', max(seq) from observation
    union all select 'observation_other', max(seq) from observation_other
    union all select 'sighting', max(seq) from sighting
    union all select 'counter', max(seq) from counter
    union all select 'branch_size', max(seq) from branch_size
    union all select 'cycle', max(seq) from cycle
    union all select 'alert', max(seq) from alert
    union all select 'delivery_attempt', max(seq) from delivery_attempt
    union all select 'closing', max(seq) from closing
    union all select 'invoice', max(seq) from invoice
)
select h.table_name, h.seq, p.seq as position
from held as h, position as p
where h.seq > p.seq
