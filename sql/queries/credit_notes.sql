-- Every credit note with the invoice that it cancels.
select n.number, n.document, i.document as original
from invoice as n
join invoice as i on i.number = json_extract_string(n.document, '$.credits')
where n.series like 'credit_note %'
order by n.seq
