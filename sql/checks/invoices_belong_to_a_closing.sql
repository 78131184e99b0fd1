-- What was issued was issued by a closing of its month; a credit note stands for an invoice that is void.
select i.number, i.month, i.customer, i.status
from invoice as i
left join closing as c on c.seq = i.seq and c.month = i.month
where i.series like 'invoice %' and c.seq is null
