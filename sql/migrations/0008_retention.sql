-- What stands in for pages whose bodies are gone, and which bodies these are.

-- Every checkpoint that was made, also where a later one has replaced its files.
create table checkpoint (
    seq             ubigint     primary key,
    made_at         timestamptz not null,
    up_to_seq       ubigint     not null,  -- the record that it shows the store at
    manifest_sha256 varchar     not null
);

-- Of the pages among these records the journal has the header and the hashes, and no longer the body.
create table dropped_pages (
    seq             ubigint     not null,
    dropped_at      timestamptz not null,
    first_seq       ubigint     not null,
    last_seq        ubigint     not null,
    keep_pages_days uinteger    not null,  -- as it was configured
    check (first_seq <= last_seq)
);
