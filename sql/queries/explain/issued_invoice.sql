-- One issued document with the closing that issued it; a credit note has no closing of its own.
select
    i.number, i.month, i.customer, i.status, i.seq, i.document, c.as_of, c.as_of_seq, c.terms_sha256, c.rules,
    t.document as terms
from invoice as i
left join closing as c on c.seq = i.seq
left join terms as t on t.sha256 = c.terms_sha256
where i.number = $number
