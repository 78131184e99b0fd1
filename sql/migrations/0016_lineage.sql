-- Whether this store may promise: its epochs, what a person adopted, and the witness that it is compared with.

create table epoch (
    seq         ubigint     not null primary key,
    epoch       varchar     not null,
    because     varchar     not null check (because in ('backup', 'rebuilt', 'copied')),
    lost_up_to  ubigint                -- a record that was written before, beyond the end of what is left
);

create table adoption (
    seq          ubigint  not null primary key,
    is_compared  boolean  not null,  -- what both stores issued was compared by a person
    is_clock     boolean  not null   -- the clock that went back is right
);

-- Numbers up to this one may have been given out elsewhere: the series goes on behind it.
create table skipped_number (
    seq       ubigint   not null,
    series    varchar   not null,
    position  uinteger  not null
);

create table witness (
    seq   ubigint  not null primary key,
    path  varchar  -- null: none from here on
);
