-- What the last list of a project's branches has shown so far.
select logical_size_bytes, is_whole
from branch_size
where organization = $organization and project_id = $project_id
