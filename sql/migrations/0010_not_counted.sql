-- Usage that two organizations report in full counts on one side: which one, a person has said.

alter table alarm add column other varchar;    -- of a double alarm: the second organization
alter table alarm add column month varchar;    -- of a double alarm: the month of its buckets, such as 2026-09
alter table alarm add column counted varchar;  -- of a double alarm: the organization whose side counts, or `both`

-- Every time that buckets were taken out of one side. Rows of `observation` with this record's number take their values
-- off again, under billing periods of their own (`not counted: …`), so that what pages show is still known beside it.
create table not_counted (
    seq          ubigint primary key,
    alarm_id     varchar not null,
    organization varchar not null,  -- the side that does not count
    project_id   varchar not null,
    page_seq     ubigint not null   -- the last page that showed the buckets on this side
);
