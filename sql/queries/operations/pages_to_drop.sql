-- Ranges of records whose pages' bodies may go: received before a moment, not gone yet, and of months that are settled.
-- Read by the day's look at retention. A page shows its walk's timeframe, or the moment when it was received; the pages
-- of a history that nobody ended stay. Ranges lie between the pages that stay.
with walk_months as (
    select
        walk,
        list_has_all($settled, [
            strftime(m, '%Y-%m')
            for m in generate_series(
                date_trunc('month', period_start at time zone 'UTC'),
                (period_end at time zone 'UTC') - interval 1 microsecond,
                interval 1 month
            )
        ]) as is_settled
    from walk
    where period_start is not null
),
judged as (
    select
        p.seq,
        p.received_at < $before
        and coalesce(d.last_seq < p.seq, true)
        and case
            when p.endpoint in ('history', 'batch') then coalesce(w.is_settled, false)
            else list_contains($settled, strftime(p.received_at at time zone 'UTC', '%Y-%m'))
        end as is_to_go
    from page as p
    left join walk_months as w on w.walk = p.walk
    asof left join dropped_pages as d on d.first_seq <= p.seq
    where p.seq <= $until_seq
),
numbered as (
    select
        seq,
        is_to_go,
        row_number() over (order by seq) - row_number() over (partition by is_to_go order by seq) as stretch
    from judged
)
select min(seq) as first_seq, max(seq) as last_seq, count(*) as pages
from numbered
where is_to_go
group by stretch
order by first_seq
