-- The projects of a batch that an earlier page of the same walk listed as well.
select distinct project_key
from walk_project
semi join batch_projects using (project_key)
where walk = $walk
