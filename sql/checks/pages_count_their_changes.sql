-- A page's number of changes is the number of rows that bear its number, less the omissions that its walk proved later.
with rows as (
    select seq, count(*) as number from observation group by seq
    union all
    select seq, count(*) as number from observation_other group by seq
    union all
    select seq, -count(*) as number from omission where is_applied group by seq
),
counted as (
    select seq, sum(number) as number from rows group by seq
)
select g.seq, g.changes, coalesce(c.number, 0) as counted
from page as g
left join counted as c on c.seq = g.seq
where g.changes <> coalesce(c.number, 0)
