-- How many projects each organization's inventory lists.
select organization, count(distinct project_id) as projects from listed group by organization order by organization
