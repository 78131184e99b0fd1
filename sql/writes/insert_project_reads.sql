-- When each project's history was last read.
insert into project_read select project_key, read_at from newly_read
on conflict do update set read_at = excluded.read_at
