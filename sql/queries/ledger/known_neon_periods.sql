-- The key of every billing period of Neon's, and its end where it is known.
select organization, period_id, plan, period_start, neon_period_key, period_end from neon_period
