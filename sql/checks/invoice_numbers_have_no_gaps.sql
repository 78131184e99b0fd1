-- Each series counts from 1 without a gap, in the order of issue.
with counted as (
    select series, position, number, seq,
        row_number() over (partition by series order by position)    as expected,
        lag(seq) over (partition by series order by position)        as seq_before
    from invoice
)
select series, position, number, expected
from counted
where position <> expected or seq < seq_before
