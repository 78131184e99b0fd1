-- What was promised to the outside: alerts, their outbox, and every attempt to deliver them. Small ledgers with keys.

-- One row per alert, ever. Events that are no quota's (invoices, polling) leave the quota columns null.
create table alert (
    alert_id          varchar     primary key,
    seq               ubigint     not null,
    recorded_at       timestamptz not null,
    event_type        varchar     not null,
    status            varchar     not null check (status in ('send', 'superseded')),
    reason            varchar     not null,
    project_id        varchar,
    quota             varchar,
    period_start      timestamptz,
    quota_limit       hugeint,
    threshold_percent integer,
    body              varchar     not null  -- exactly what is sent, at every attempt
);

-- One row per alert and endpoint that is to be told. attempts counts since the alert was recorded or resent.
create table outbox (
    alert_id     varchar     not null,
    endpoint     varchar     not null,
    state        varchar     not null check (state in ('pending', 'delivered', 'failed', 'disabled')),
    attempts     integer     not null,
    due_at       timestamptz not null,
    delivered_at timestamptz,
    error        varchar     not null,  -- of the last attempt; empty where it went well
    primary key (alert_id, endpoint)
);

create table delivery_attempt (
    seq             ubigint     primary key,
    alert_id        varchar     not null,
    endpoint        varchar     not null,
    attempt         integer     not null,
    attempted_at    timestamptz not null,
    outcome         varchar     not null check (outcome in ('delivered', 'retry', 'failed', 'disabled', 'refused')),
    status          integer     not null,  -- 0 where no answer came
    error           varchar     not null,
    next_attempt_at timestamptz
);

-- Endpoints that answered 410. A resend clears disabled_at.
create table endpoint (
    url         varchar primary key,
    disabled_at timestamptz
);
