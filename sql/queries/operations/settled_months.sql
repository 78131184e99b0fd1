-- Months that are closed for every customer: nobody is parked, and nobody's only invoice is void.
with voided as (
    select month, customer
    from invoice
    where series like 'invoice %'
      and seq not in (select seq from closing where document ->> '$.supplements' is not null)
    group by month, customer
    having bool_and(status = 'void')
)
select distinct month
from closing
where month not in (select month from parked) and month not in (select month from voided)
order by month
