-- What was sent to Stripe is kept with its hash.

alter table stripe_send add column sha256 varchar;  -- of the form as it was last sent; null where an older version sent it
