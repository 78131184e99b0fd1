-- What inventory showed of each project when, less the notes that it was gone; and, for projects that only history
-- knows, the organization that reported them.
select project_id, organization, seen_at, name
from sighting
where seq <= $as_of_seq and (is_listed or deleted_at is not null)
union all
select p.project_id, p.organization, $period_start::timestamptz as seen_at, null as name
from project as p
where p.project_id not in (select project_id from sighting where seq <= $as_of_seq)
order by project_id, seen_at, organization
