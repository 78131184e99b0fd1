-- What was billed for a month by a record: its invoices, and those of later months that may correct it. An invoice is
-- void once its credit note was issued.
with credited as (
    select seq, json_extract_string(document, '$.credits') as number
    from invoice
    where series like 'credit_note %' and seq <= $as_of_seq
)
select
    i.seq, i.month, i.customer, i.currency, i.document,
    c.seq is not null as is_void,
    coalesce(k.document ->> '$.supplements' is not null, false) as is_supplement
from invoice as i
left join credited as c on c.number = i.number
left join closing as k on k.seq = i.seq
where i.series like 'invoice %'
  and i.seq <= $as_of_seq
  and (i.month = $month or (i.month > $month and contains(i.document, '"kind":"adjustment"')))
order by i.seq, i.number
