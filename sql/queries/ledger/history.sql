-- What was done, the latest first; by kind, since a moment, or with documents of one customer.
select seq, done_at, kind, who, origin, what
from deed
where ($kind::varchar is null or kind = $kind)
  and ($since::timestamptz is null or done_at >= $since)
  and (
      $customer::varchar is null
      or seq in (select seq from invoice where customer = $customer)
      or seq in (select seq from parked where customer = $customer)
  )
order by seq desc
