-- Keeps the address of an attempt.
insert into endpoint values ($endpoint, null, $address, 0)
on conflict (url) do update set address = excluded.address
