-- What was changed at Neon, and in subscriptions.csv, by `quotas apply` and `upgrade`: said before it is sent, and what
-- came of it after. A `sending` without a later word is a change of which nobody knows whether it happened.

create table quota_change (
    seq          ubigint     primary key,
    changed_at   timestamptz not null,
    organization varchar     not null,
    project_id   varchar     not null,
    plan         varchar     not null,
    phase        varchar     not null check (phase in ('sending', 'done', 'failed')),
    quotas       varchar     not null,  -- JSON: quota -> {"was": its limit at Neon or null, "wanted": the plan's}
    reason       varchar     not null,  -- the command, and whether it was forced
    error        varchar     not null   -- why it failed; empty otherwise
);

create table upgrade_step (
    seq          ubigint     primary key,
    changed_at   timestamptz not null,
    project_id   varchar     not null,
    plan         varchar     not null,
    step         varchar     not null check (step in ('transfer', 'subscription')),
    phase        varchar     not null check (phase in ('sending', 'done', 'failed')),
    detail       varchar     not null,  -- JSON: from and to which organization; or the lines written
    error        varchar     not null
);
