-- The key of every project.
select organization, project_id, project_key from project
