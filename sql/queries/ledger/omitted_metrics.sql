-- The metrics of which a walk left out a value above zero.
select distinct metric from omission where walk = $walk order by metric
