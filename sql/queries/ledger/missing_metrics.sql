-- The known metrics that vanished from an organization.
select metric from missing_metric where organization = $organization order by metric
