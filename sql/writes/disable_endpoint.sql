-- Says since when an endpoint wants nothing more.
insert into endpoint values ($endpoint, $at::timestamptz)
on conflict (url) do update set disabled_at = excluded.disabled_at
