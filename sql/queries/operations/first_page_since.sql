-- The first page that was received at or after a moment; null where none was.
select min(seq) as seq from page where received_at >= $since
