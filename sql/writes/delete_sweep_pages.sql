-- Forgets where the pages of a sweep led to that has ended, whole or broken.
delete from sweep_page where walk = $walk
