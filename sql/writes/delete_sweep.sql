-- Forgets a sweep that has ended, whole or broken.
delete from sweep where walk = $walk
