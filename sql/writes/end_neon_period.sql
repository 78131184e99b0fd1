-- Says when one of Neon's billing periods ends, which was not known, or was known otherwise.
update neon_period set period_end = $end where neon_period_key = $key
