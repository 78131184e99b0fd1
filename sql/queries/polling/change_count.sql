-- How many changes the observations hold.
select (select count(*) from observation) + (select count(*) from observation_other) as changes
