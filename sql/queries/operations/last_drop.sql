-- The ranges of records whose bodies the last retention run dropped, in order.
select first_seq, last_seq
from dropped_pages
where seq = (select max(seq) from dropped_pages)
order by first_seq
