-- A customer has at most one invoice of a month that is not void.
select month, customer, count(*) as invoices
from invoice
where series like 'invoice %' and status = 'final'
group by month, customer
having count(*) > 1
