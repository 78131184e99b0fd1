-- The keys by which observations name their projects.
select project_key, organization, project_id from project order by project_key
