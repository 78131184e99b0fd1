-- Every closing as known at a record, with the terms that it was made by.
select c.seq, c.month, c.as_of, c.as_of_seq, t.document as terms, c.document, c.rules
from closing as c
join terms as t on t.sha256 = c.terms_sha256
where c.seq <= $as_of_seq
order by c.seq
