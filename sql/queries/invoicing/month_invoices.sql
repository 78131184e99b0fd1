-- The issued documents of a month.
select number, month, customer, status, document from invoice where month = $month order by customer, number
