-- The epoch that the store is in (empty: the first), why it began, whether a person adopted it, and its witness.
with
last_epoch as (select seq, epoch, because, lost_up_to from epoch order by seq desc limit 1),
adopted as (select max(seq) as seq from adoption where is_compared),
last_witness as (select path from witness order by seq desc limit 1)
select
    coalesce(e.epoch, '')                             as epoch,
    e.because,
    e.lost_up_to,
    e.seq is null or coalesce(a.seq > e.seq, false)   as is_adopted,
    w.path                                            as witness
from (select 1) as one
left join last_epoch as e on true
left join adopted as a on true
left join last_witness as w on true
