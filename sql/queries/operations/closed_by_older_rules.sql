-- Months with a closing under other rules than these, and how many of its invoices stand.
select c.month, c.rules, count(i.number) as invoices
from closing as c
left join invoice as i on i.seq = c.seq and i.status = 'final' and i.series like 'invoice %'
where c.rules <> $rules
group by c.month, c.rules
order by c.month, c.rules
