-- What was closed and issued. Documents are the exact bytes; only an invoice's status changes, by a void.

create table terms (
    sha256   varchar primary key,
    seq      ubigint not null,
    document varchar not null  -- plans, meters, customers, subscriptions: everything but usage that a figure depends on
);

create table closing (
    seq              ubigint     primary key,
    month            varchar     not null,
    as_of            timestamptz not null,
    as_of_seq        ubigint     not null,  -- the last record that this closing knew
    terms_sha256     varchar     not null,
    allow_incomplete varchar,               -- the reason given for closing over gaps
    document         varchar     not null   -- coverage, unassigned and unpriced usage, as they were
);

create table invoice (
    number    varchar     primary key,
    seq       ubigint     not null,
    month     varchar     not null,
    customer  varchar     not null,
    status    varchar     not null check (status in ('final', 'void')),
    currency  varchar     not null,
    total     varchar     not null,
    issued_at timestamptz not null,
    series    varchar     not null,  -- 'invoice 2026', 'credit_note 2026'
    position  uinteger    not null,  -- from 1 in its series, without gaps
    document  varchar     not null,
    unique (series, position)
);

create table parked (
    month    varchar not null,
    customer varchar not null,
    seq      ubigint not null,
    reason   varchar not null,
    primary key (month, customer)
);
