-- How many pages of a walk were received so far.
select count(*) as pages from page where walk = $walk
