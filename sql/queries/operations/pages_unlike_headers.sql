-- Pages whose row is missing, or names another page than the journal's headers in `headers`. Read by `verify`.
select h.seq
from headers as h
left join page as p using (seq)
where p.sha256 is distinct from h.sha256
   or p.request_id is distinct from h.request_id
   or p.received_at is distinct from h.received_at::timestamptz
order by h.seq
