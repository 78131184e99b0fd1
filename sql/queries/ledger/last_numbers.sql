-- The last number of each series that was given out here, or may have been given out elsewhere.
with given as (
    select series, position from invoice
    union all select series, position from skipped_number
)
select series, max(position) as position from given group by series order by series
