-- Sums by day: what a month needs of most projects, in a twelfth of the rows and in the order of projects. Because
-- observations are increments, a sum of those up to a record stays true for ever, and later ones are added to it.

-- Up to which records the observations have been summed. Made by the first cycle of each day.
create table rollup (
    seq       ubigint     primary key,
    rolled_at timestamptz not null
);

-- The observations behind the rollup before, up to this one: so many changes of a project's day, whatever their grain.
create table observation_day (
    rolled_seq                    ubigint     not null,
    project_key                   uinteger    not null,
    grain                         utinyint    not null,
    day_start                     timestamptz not null,  -- 00:00 UTC of the day in which the buckets start
    first_start                   timestamptz not null,  -- the first of these buckets
    last_start                    timestamptz not null,
    compute_unit_seconds          hugeint,
    root_branch_bytes_month       hugeint,
    child_branch_bytes_month      hugeint,
    instant_restore_bytes_month   hugeint,
    snapshot_storage_bytes_month  hugeint,
    public_network_transfer_bytes hugeint,
    private_network_transfer_bytes hugeint,
    extra_branches_month          hugeint
);
