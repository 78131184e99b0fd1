-- A customer has at most one invoice of a month that is not void, beside supplementary ones.
select month, customer, count(*) as invoices
from invoice
where series like 'invoice %' and status = 'final'
  and seq not in (select seq from closing where document ->> '$.supplements' is not null)
group by month, customer
having count(*) > 1
