-- The last sighting of every project of an organization.
select project_id, name, region, created_at, deleted_at, is_listed, has_settings, limits
from sighting
where organization = $organization
qualify row_number() over (partition by project_id order by seq desc) = 1
