-- What an activity-aware poll goes on from: full walks of history that are still under way when their cycle ends, and
-- when each project's history was last read.

-- The open sweeps. A row goes when its walk ends.
create table sweep (
    walk          uinteger    primary key,
    organization  varchar     not null,
    grain         utinyint    not null,
    period_start  timestamptz not null,
    period_end    timestamptz not null,
    first_sent_at timestamptz not null,  -- when its first page was asked for: what the whole walk will certify by
    params        varchar     not null   -- JSON: as asked, without the cursor
);

-- Where each page of an open sweep led to; null where it was the last one.
create table sweep_page (
    walk   uinteger not null,
    seq    ubigint  not null,
    cursor varchar
);

-- When a project's history was last read: by a page that lists it, or by a whole answer to a question for it.
create table project_read (
    project_key uinteger    primary key,
    read_at     timestamptz not null
);
