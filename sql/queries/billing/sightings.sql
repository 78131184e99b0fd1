-- What inventory showed of each project when, less the notes that it was gone.
select project_id, organization, seen_at, name
from sighting
where seq <= $as_of_seq and name is not null and (is_listed or deleted_at is not null)
order by project_id, seen_at, seq, organization
