-- The first walk number that no page and no walk has.
select 1 + greatest(
    (select coalesce(max(walk), 0) from page),
    (select coalesce(max(walk), 0) from walk)
) as walk
