-- Says up to which record the observations are summed by day, and when that was done.
insert into rollup values ($seq, $at)
