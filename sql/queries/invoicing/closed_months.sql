-- Every month that has a closing: when it was first closed, and by whom (null in closings that did not say).
select
    month,
    min_by(as_of, seq)                       as closed_at,
    min_by(document ->> '$.closed_by', seq)  as closed_by
from closing
group by month
order by month
