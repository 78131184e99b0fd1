-- Every project that inventory showed up to a record, by its last sighting anywhere.
with latest as (
    select project_id, created_at, deleted_at, is_listed
    from sighting
    where seq <= $as_of_seq::ubigint and name is not null
    qualify row_number() over (partition by organization, project_id order by seq desc) = 1
)
select
    project_id,
    min(created_at)                                                 as created_at,
    case when bool_or(is_listed) then null else max(deleted_at) end as deleted_at,
    bool_or(is_listed)                                              as is_listed
from latest
group by project_id
order by project_id
