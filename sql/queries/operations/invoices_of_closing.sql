-- The invoices that one closing issued.
select number, customer, document from invoice where seq = $seq order by number
