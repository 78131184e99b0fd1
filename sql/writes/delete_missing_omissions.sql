-- Forgets what a walk left out of metrics that are missing: their values are unknown, not zero.
delete from omission where walk = $walk and list_contains($missing, metric)
