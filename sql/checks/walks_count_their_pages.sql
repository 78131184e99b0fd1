-- A walk has as many pages as bear its number, all recorded before its end, and is complete only if all of them count.
with pages as (
    select walk, count(*) as number, max(seq) as last_seq, count(*) filter (where fault is not null) as faulty
    from page
    group by walk
)
select w.walk, w.pages, coalesce(p.number, 0) as counted, w.is_complete
from walk as w
left join pages as p on p.walk = w.walk
where w.pages <> coalesce(p.number, 0)
    or p.last_seq > w.seq
    or w.is_complete <> (w.kind = '')
    or (w.is_complete and p.faulty > 0)
