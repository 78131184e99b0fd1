-- Forgets which projects a walk has listed: it gets no more pages.
delete from walk_project where walk = $walk
