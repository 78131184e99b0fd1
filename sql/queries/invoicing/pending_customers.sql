-- Customers for whom a closed month is still open: those whose invoice is held, and those whose only invoice was
-- voided. A supplementary invoice stands beside that one: a void one is issued anew by the next supplement.
select customer from parked where month = $month
union
select customer
from invoice
where month = $month and series like 'invoice %'
  and seq not in (select seq from closing where document ->> '$.supplements' is not null)
group by customer
having bool_and(status = 'void')
order by customer
