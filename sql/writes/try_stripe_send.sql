-- An item or event that is about to be sent to Stripe. An attempt whose outcome is not known stays the first of its
-- kind until one is.
insert into stripe_send values ($key, $seq, $kind, $document, 'tried', $at, null, null, $sha256)
on conflict (key) do update
set seq = $seq, state = 'tried', first_tried_at = coalesce(first_tried_at, excluded.first_tried_at), error = null,
    sha256 = $sha256
