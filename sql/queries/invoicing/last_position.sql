-- The last number given out in a series, here or in another copy of this store.
with given as (
    select series, position from invoice
    union all select series, position from skipped_number
)
select coalesce(max(position), 0) as position from given where series = $series
