-- How many projects inventory or history ever showed.
select count(*) as projects
from (
    select project_id from sighting
    union
    select project_id from project
)
