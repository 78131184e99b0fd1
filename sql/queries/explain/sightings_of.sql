-- How inventory showed the projects in `wanted`, change by change, with the page that showed it. Read by `explain`.
select
    s.project_id,
    s.organization,
    s.seen_at,
    s.name,
    s.created_at,
    s.deleted_at,
    s.is_listed,
    s.seq,
    g.sha256,
    g.request_id
from sighting as s
semi join wanted as w on w.project_id = s.project_id
left join page as g on g.seq = s.seq
where s.seq <= $as_of_seq
order by s.project_id, s.seen_at, s.seq
