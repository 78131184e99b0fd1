-- Who did what: one row for each record that a person, or the scheduler, caused.

create table deed (
    seq     ubigint    not null primary key,
    done_at timestamptz not null,
    kind    varchar    not null,  -- of the record
    who     varchar    not null,
    origin  varchar    not null,
    what    varchar    not null
);

-- A store that is older than table deed: up to this record its rows are made from the journal, once.
create table deeds_lacking (
    up_to ubigint not null
);
insert into deeds_lacking select seq from position where seq > 0;
