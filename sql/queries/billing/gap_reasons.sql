-- Why an organization's history is not whole: how its last walk of a grain ended, or what vanished from it. Of many
-- rows the last one tells.
with ended as (
    select organization, kind, reason, seq
    from walk
    where endpoint = 'history' and seq <= $as_of_seq
    qualify row_number() over (partition by organization, grain order by seq desc) = 1
),
reasons as (
    select organization, kind, reason, 0 as place, seq from ended where kind <> ''
    union all
    select organization, 'metric_missing', string_agg(metric, ', ' order by metric), 1, 0
    from missing_metric
    group by organization
)
select organization, kind, reason from reasons order by organization, place, seq
