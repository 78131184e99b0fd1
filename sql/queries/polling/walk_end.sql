-- How a walk ended.
select is_complete, reason, kind, pages from walk where walk = $walk
