-- What polling saw, and the ledgers that prove it. Hot tables are append-only and carry no index.

create table position (
    seq  ubigint not null,  -- the last journal record that this store holds
    hash varchar not null   -- and its place in the journal's chain
);
insert into position values (0, '0000000000000000000000000000000000000000000000000000000000000000');

-- One row per organization and project. A project that moved to another organization has a row in each.
create table project (
    project_key  uinteger primary key,
    organization varchar not null,
    project_id   varchar not null
);

-- Neon's own billing periods, as pages name them. period_id is opaque.
create table neon_period (
    neon_period_key uinteger primary key,
    organization    varchar not null,
    period_id       varchar not null,
    plan            varchar not null,
    period_start    timestamptz,
    period_end      timestamptz
);

-- What changed, wide: each row holds by how much a bucket's values differ from what the store had seen of the same
-- bucket before (the first sight differs from nothing). The value of a bucket is the sum of its rows, the usage of a
-- month the sum of all its rows, and usage as it was known at record n the sum of the rows with seq <= n.
create table observation (
    seq                           ubigint     not null,  -- the page that showed it
    project_key                   uinteger    not null,
    neon_period_key               uinteger    not null,
    grain                         utinyint    not null check (grain in (0, 1, 2)),  -- hourly, daily, monthly
    timeframe_start               timestamptz not null,
    compute_unit_seconds          bigint,
    root_branch_bytes_month       bigint,
    child_branch_bytes_month      bigint,
    instant_restore_bytes_month   bigint,
    snapshot_storage_bytes_month  bigint,
    public_network_transfer_bytes bigint,
    private_network_transfer_bytes bigint,
    extra_branches_month          bigint
);

-- The same for metrics that nobody knew when the table above was made, and for values beyond 63 bits.
create table observation_other (
    seq             ubigint     not null,
    project_key     uinteger    not null,
    neon_period_key uinteger    not null,
    grain           utinyint    not null check (grain in (0, 1, 2)),
    timeframe_start timestamptz not null,
    metric          varchar     not null,
    value           hugeint     not null
);

-- Values above zero that a later read left out. They count as zero once that read proves complete (is_applied); until
-- then, and where the read broke off, the values stand.
create table omission (
    walk            uinteger    not null,
    seq             ubigint     not null,
    project_key     uinteger    not null,
    neon_period_key uinteger    not null,
    grain           utinyint    not null,
    timeframe_start timestamptz not null,
    metric          varchar     not null,
    value           hugeint     not null,
    is_applied      boolean     not null
);

-- The projects that a walk under way has listed so far. Empty between cycles.
create table walk_project (
    walk        uinteger not null,
    project_key uinteger not null
);

-- Every page that was received: proof of what was seen, also when nothing had changed.
create table page (
    seq          ubigint     primary key,
    walk         uinteger    not null,
    endpoint     varchar     not null,
    organization varchar     not null,
    sent_at      timestamptz not null,
    received_at  timestamptz not null,
    request_id   varchar     not null,
    sha256       varchar     not null,
    bytes        ubigint     not null,
    items        uinteger    not null,
    changes      uinteger    not null,  -- rows that this page added to the observations
    metrics      varchar[]   not null,  -- the metrics it reported
    grains       utinyint[]  not null,  -- the lengths of the buckets it reported
    fault        varchar                -- why nothing of it counts; null where it counts
);

-- Every reading of a list from its first page to its last, or to where it broke.
create table walk (
    walk          uinteger    primary key,
    seq           ubigint     not null,
    endpoint      varchar     not null,
    organization  varchar     not null,
    grain         utinyint,
    period_start  timestamptz,
    period_end    timestamptz,
    first_sent_at timestamptz not null,
    pages         uinteger    not null,
    is_complete   boolean     not null,
    reason        varchar     not null,  -- empty where complete
    kind          varchar     not null   -- '' | unavailable | credentials | broken | refused
);

-- The hours that a complete walk has seen after they ended (contract 5.2).
create table coverage (
    seq          ubigint     not null,
    organization varchar     not null,
    grain        utinyint    not null,
    period_start timestamptz not null,
    period_end   timestamptz not null,
    walk         uinteger    not null,
    check (period_start < period_end)
);

-- Inventory, one row per change of what is shown here.
create table sighting (
    seq            ubigint     not null,
    organization   varchar     not null,
    project_id     varchar     not null,
    seen_at        timestamptz not null,
    name           varchar     not null,
    region         varchar     not null,
    created_at     timestamptz,
    deleted_at     timestamptz,
    is_listed      boolean     not null,
    has_settings   boolean     not null,
    limits         varchar     not null  -- JSON: the project's quota at Neon
);

-- The projects of the latest inventory walk; of a walk under way also those that it has seen so far.
create table listed (
    walk           uinteger not null,
    organization   varchar  not null,
    project_id     varchar  not null,
    last_active_at timestamptz
);

-- The quota counters of GET /projects/{id}; the latest only (every answer stays in the journal).
create table counter (
    organization         varchar     not null,
    project_id           varchar     not null,
    seq                  ubigint     not null,
    observed_at          timestamptz not null,
    period_start         timestamptz,
    period_end           timestamptz,
    active_time_seconds  hugeint,
    compute_time_seconds hugeint,
    written_data_bytes   hugeint,
    data_transfer_bytes  hugeint,
    limits               varchar     not null,
    primary key (organization, project_id)
);

-- The largest branch of a project; the latest only. is_whole: every branch was measured.
create table branch_size (
    organization varchar     not null,
    project_id   varchar     not null,
    seq          ubigint     not null,
    observed_at  timestamptz not null,
    logical_size_bytes hugeint,
    is_whole     boolean     not null,
    primary key (organization, project_id)
);

-- A known metric that vanished from a whole organization: unknown until it is seen again.
create table missing_metric (
    organization varchar     not null,
    metric       varchar     not null,
    since        timestamptz not null,
    walk         uinteger    not null,
    primary key (organization, metric)
);

-- Every run of poll, backfill and tick.
create table cycle (
    seq        ubigint     primary key,
    command    varchar     not null,
    started_at timestamptz not null,
    ended_at   timestamptz not null,
    requests   uinteger    not null,
    pages      uinteger    not null,
    changes    ubigint     not null,
    outcome    varchar     not null,  -- complete | partial | refused
    faults     varchar     not null   -- JSON list of sentences
);
