-- A recipient is its name and its address: what one address answered says nothing of another. Deliveries to an endpoint
-- that is no longer told, or that somebody dropped, end as abandoned.

create temporary table kept_endpoint as select url, disabled_at from endpoint;
drop table endpoint;
create table endpoint (
    url         varchar primary key,  -- the endpoint's name in the ledger
    disabled_at timestamptz,          -- when it answered 410; null where it is told
    address     varchar not null,     -- fingerprint of the address at the last attempt; empty where it is not known
    enabled_seq ubigint not null      -- since when it is told again; what failed before says nothing; 0 as a rule
);
insert into endpoint select url, disabled_at, '', 0 from kept_endpoint;
drop table kept_endpoint;

create temporary table kept_outbox as
select alert_id, endpoint, state, attempts, due_at, delivered_at, error from outbox;
drop table outbox;
create table outbox (
    alert_id     varchar     not null,
    endpoint     varchar     not null,
    state        varchar     not null check (state in ('pending', 'delivered', 'failed', 'disabled', 'abandoned')),
    attempts     integer     not null,
    due_at       timestamptz not null,
    delivered_at timestamptz,
    error        varchar     not null,  -- of the last attempt; empty where it went well
    primary key (alert_id, endpoint)
);
insert into outbox select alert_id, endpoint, state, attempts, due_at, delivered_at, error from kept_outbox;
drop table kept_outbox;
