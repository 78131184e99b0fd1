-- Says that an invoice is void; it keeps its bytes.
update invoice set status = 'void' where number = $number
