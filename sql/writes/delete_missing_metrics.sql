-- Says that metrics are there again for an organization: a walk has shown them.
delete from missing_metric where organization = $organization and list_contains($metrics, metric)
