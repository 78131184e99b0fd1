-- Every change was shown by a history page that counts: one that was received, of that organization, without a fault;
-- or by the end of such a walk, which left a value out.
with changes as (
    select seq, project_key from observation
    union all
    select seq, project_key from observation_other
)
select distinct c.seq, c.project_key
from changes as c
left join shown_by as g on g.seq = c.seq
left join project as p on p.project_key = c.project_key
where g.seq is null
    or p.project_key is null
    or g.endpoint not in ('history', 'batch')
    or g.fault is not null
    or g.organization <> p.organization
