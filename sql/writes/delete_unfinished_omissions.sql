-- Forgets what walks left out that never ended (the process was killed); an open sweep goes on.
delete from omission where not is_applied and walk not in (select walk from sweep)
