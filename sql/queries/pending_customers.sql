-- Customers that a closed month is still open for: the parked, and those whose only invoice was voided.
select customer from parked where month = $month
union
select customer
from invoice
where month = $month and series like 'invoice %'
group by customer
having bool_and(status = 'void')
order by customer
