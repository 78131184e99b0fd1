-- Forgets what a walk left out: it did not reach its end, so that this proves nothing.
delete from omission where walk = $walk
