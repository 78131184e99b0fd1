-- What a person must look at before a month closes, and the daily look at the unit of storage.

-- One row per alarm, ever. `double` and `unit` alarms stop every close, a `metric` alarm parks those who used it, until
-- somebody has acknowledged them with a reason.
create table alarm (
    alarm_id        varchar     primary key,
    seq             ubigint     not null,
    raised_at       timestamptz not null,
    kind            varchar     not null check (kind in ('unit', 'metric', 'double')),
    organization    varchar     not null,
    project_id      varchar,              -- of a double alarm
    metric          varchar,              -- of a unit or metric alarm
    summary         varchar     not null, -- what a person reads
    acknowledged_at timestamptz,
    reason          varchar               -- why it was acknowledged
);

-- Every comparison of storage with the branches' own sizes: at most one a day and organization counts.
create table unit_check (
    seq          ubigint     primary key,
    checked_at   timestamptz not null,
    organization varchar     not null,
    verdict      varchar     not null check (verdict in ('fine', 'too large', 'too small', 'unknown')),
    projects     varchar     not null  -- JSON list: what was compared, and what it said
);
