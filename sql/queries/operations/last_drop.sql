-- The ranges of records that the last look at retention took the bodies from, in order.
select first_seq, last_seq
from dropped_pages
where seq = (select max(seq) from dropped_pages)
order by first_seq
