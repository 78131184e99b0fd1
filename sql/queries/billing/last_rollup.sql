-- The last rollup that holds nothing newer than a record: its own record (0 where there is none) and its time.
select coalesce(max(seq), 0)::ubigint as seq, max(rolled_at) as rolled_at
from rollup
where seq <= $as_of_seq::ubigint
