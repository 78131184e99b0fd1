-- A page's number of changes is the number of rows that bear its number.
with counted as (
    select seq, count(*) as number
    from (select seq from observation union all select seq from observation_other)
    group by seq
)
select g.seq, g.changes, coalesce(c.number, 0) as counted
from page as g
left join counted as c on c.seq = g.seq
where g.changes <> coalesce(c.number, 0)
