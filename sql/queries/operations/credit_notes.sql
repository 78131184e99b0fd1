-- Every credit note with the invoice that it cancels, and the rules by which that one was closed.
select n.number, n.document, i.document as original, c.rules
from invoice as n
join invoice as i on i.number = json_extract_string(n.document, '$.credits')
join closing as c on c.seq = i.seq
where n.series like 'credit_note %'
order by n.seq
