-- Each customer's latest invoices before a month that stand, the newest first.
select customer, currency, total
from invoice
where status = 'final' and series like 'invoice %' and month < $month
  and seq not in (select seq from closing where document ->> '$.supplements' is not null)
qualify row_number() over (partition by customer order by month desc, seq desc) <= $most
order by customer, month desc, seq desc
