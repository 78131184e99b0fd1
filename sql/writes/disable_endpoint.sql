-- Says since when an endpoint wants nothing more at this address.
insert into endpoint values ($endpoint, $at::timestamptz, $address, 0)
on conflict (url) do update set disabled_at = excluded.disabled_at, address = excluded.address
