-- The hours that a whole walk certifies for an organization.
insert into coverage values ($seq, $organization, $grain, $start, $until, $walk)
