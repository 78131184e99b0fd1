-- Forgets what a walk left out of hours that it does not certify.
delete from omission
where walk = $walk and (grain <> $grain or timeframe_start < $start or timeframe_start >= $until)
