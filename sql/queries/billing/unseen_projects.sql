-- Projects with usage that inventory never showed, as known at a record: when they were first used (`first_end`: when the
-- first bucket that shows it was over), and whether inventory names them without showing them. Mostly there are none.
with latest as (
    select organization, project_id, name, is_listed
    from sighting
    where seq <= $as_of_seq
    qualify row_number() over (partition by organization, project_id order by seq desc) = 1
),
unseen as (
    select project_key, organization, project_id
    from project
    where project_id not in (select project_id from latest where name is not null)
),
used as (
    select project_key, timeframe_start, grain
    from observation
    where seq <= $as_of_seq and project_key in (select project_key from unseen)
    union all
    select project_key, timeframe_start, grain
    from observation_other
    where seq <= $as_of_seq and project_key in (select project_key from unseen)
),
first_used as (
    select
        project_key,
        min(timeframe_start) as first_start,
        min(timeframe_start + case grain when 0 then interval 1 hour when 1 then interval 1 day else interval 1 month end)
                             as first_end
    from used
    group by project_key
)
select
    u.organization,
    u.project_id,
    f.first_start,
    f.first_end,
    u.project_id in (select project_id from latest where is_listed) as is_named
from first_used as f
join unseen as u using (project_key)
order by u.organization, u.project_id
