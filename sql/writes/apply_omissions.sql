-- Says that what a walk left out has been taken off the observations.
update omission set is_applied = true where walk = $walk
