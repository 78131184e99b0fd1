-- The projects whose rows a walk could not read, and why.
select distinct project_id, fault from unreadable where walk = $walk order by project_id, fault
