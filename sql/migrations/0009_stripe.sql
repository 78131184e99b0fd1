-- What was sent to Stripe. A row stands there before its first attempt, so that nothing is ever sent without a trace.

create table stripe_send (
    key            varchar     primary key,  -- the idempotency key of an item, the identifier of a meter event
    seq            ubigint     not null,
    kind           varchar     not null check (kind in ('item', 'event')),
    document       varchar,                  -- of an item: the number of its invoice or credit note
    state          varchar     not null check (state in ('tried', 'sent', 'refused')),
    first_tried_at timestamptz,              -- the first attempt whose outcome is not known; null once one is
    remote_id      varchar,                  -- what Stripe calls it
    error          varchar                   -- why Stripe refused it
);
