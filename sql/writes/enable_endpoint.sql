-- Lets an endpoint be told again, at an address that may be another than before.
insert into endpoint values ($endpoint, null, $address, $seq)
on conflict (url) do update set disabled_at = null, address = excluded.address, enabled_seq = excluded.enabled_seq
