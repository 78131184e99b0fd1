-- Each series counts from 1 without a gap, in the order of issue; what a person let it skip is no gap.
with counted as (
    select series, position, number, seq,
        coalesce(lag(position) over (partition by series order by position), 0)  as before,
        lag(seq) over (partition by series order by position)                    as seq_before
    from invoice
),
skipped as (
    select c.number, max(s.position) as position
    from counted as c
    join skipped_number as s on s.series = c.series and s.seq < c.seq and s.position < c.position
    group by c.number
)
select c.series, c.position, c.number, greatest(c.before, coalesce(s.position, 0)) + 1 as expected
from counted as c
left join skipped as s on s.number = c.number
where c.position <> expected or c.seq < c.seq_before
