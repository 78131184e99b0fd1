-- Everything ever sent, or tried, to Stripe and how it ended: a handful of rows per invoice, read before sending.
select key, document, state, first_tried_at from stripe_send order by key
