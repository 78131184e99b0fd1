-- One comparison of an organization's storage with the sizes of its branches.
insert into unit_check values ($seq, $at, $organization, $verdict, $projects)
