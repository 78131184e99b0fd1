-- Why each organization's history is not whole: how its last history walk ended, or what vanished from it.
select organization, kind, reason from (
    select organization, kind, reason
    from walk
    where endpoint = 'history' and seq <= $as_of_seq
    qualify row_number() over (partition by organization order by seq desc) = 1
)
where kind <> ''
union all
select organization, 'metric_missing', string_agg(metric, ', ' order by metric)
from missing_metric
group by organization
order by organization, kind
