-- Rows of list pages that could not be read, while the rest of their page was.

-- Each such row, by the page that showed it, until a later complete read of the same list.
create table unreadable (
    page_seq     ubigint  not null,
    walk         uinteger not null,
    endpoint     varchar  not null,
    grain        utinyint,           -- as asked, of history
    organization varchar  not null,
    project_id   varchar  not null,
    fault        varchar  not null,
    ended_seq    ubigint
);

-- Hours that a complete walk certified for an organization at a grain, but not for this project: its row of history
-- could not be read then, and no walk had certified them before. They are a gap until a later complete walk reads them
-- at this grain or a finer one: a coarser bucket does not count where the others' finer ones do.
create table unread_hours (
    seq          ubigint     not null,  -- the record that ended the walk
    organization varchar     not null,
    project_id   varchar     not null,
    grain        utinyint    not null,
    period_start timestamptz not null,
    period_end   timestamptz not null,
    fault        varchar     not null,
    ended_seq    ubigint
);
