-- Supplementary invoices of a month by a record that nothing has credited.
select i.seq, i.number, i.customer, i.currency, i.document
from invoice as i
join closing as c on c.seq = i.seq
where i.month = $month
  and i.series like 'invoice %'
  and i.seq <= $as_of_seq
  and c.document ->> '$.supplements' is not null
  and i.number not in (
      select json_extract_string(document, '$.credits')
      from invoice
      where series like 'credit_note %' and seq <= $as_of_seq
  )
order by i.seq, i.number
