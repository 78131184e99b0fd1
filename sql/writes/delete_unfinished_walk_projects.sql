-- Forgets which projects were listed by walks that never ended (the process was killed); an open sweep goes on.
delete from walk_project where walk not in (select walk from sweep)
