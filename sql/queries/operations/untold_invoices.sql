-- Final invoices of a month for which no invoice.finalized event was recorded.
select i.number
from invoice as i
where i.month = $month
  and i.status = 'final'
  and i.series like 'invoice %'
  and i.number not in (
      select json_extract_string(a.body, '$.data.number') from alert as a where a.event_type = 'invoice.finalized'
  )
order by i.number
