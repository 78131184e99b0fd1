-- One issued document.
select number, month, customer, status, document from invoice where number = $number
