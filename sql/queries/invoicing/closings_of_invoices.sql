-- Which closing issued each invoice of a month.
select i.number, i.customer, i.status, i.seq
from invoice as i
join closing as c on c.seq = i.seq
where i.month = $month
order by i.number
