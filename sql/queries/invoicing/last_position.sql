-- The last number given out in a series.
select coalesce(max(position), 0) as position from invoice where series = $series
