-- The projects that had usage before or after the month, of those whose time inventory does not tell: it never showed
-- them, or they are gone, nobody knows since when. Mostly there are none to look for.
with latest as (
    select project_id, deleted_at, is_listed
    from sighting
    where seq <= $as_of_seq::ubigint and name is not null
    qualify row_number() over (partition by organization, project_id order by seq desc) = 1
),
stray as (
    select project_key, project_id, project_id in (select project_id from latest) as is_known
    from project
    where project_id not in (select project_id from latest where is_listed or deleted_at is not null)
),
used as (
    select project_key, min(timeframe_start) as first_start, max(timeframe_start) as last_start
    from observation
    where seq <= $as_of_seq::ubigint
      and (timeframe_start < $period_start or timeframe_start >= $period_end)
      and project_key in (select project_key from stray)
    group by project_key
)
select
    s.project_id,
    bool_or(not s.is_known and u.first_start < $period_start) as was_used_before,
    bool_or(u.last_start >= $period_end)                      as is_used_after
from used as u
join stray as s on s.project_key = u.project_key
group by s.project_id
