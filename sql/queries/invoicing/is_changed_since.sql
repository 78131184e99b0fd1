-- Whether pages after one record, up to another, changed a value of a stretch of time.
select
    exists (
        select 1 from observation
        where seq > $after and seq <= $as_of_seq
          and timeframe_start >= $period_start and timeframe_start < $period_end
    )
    or exists (
        select 1 from observation_other
        where seq > $after and seq <= $as_of_seq
          and timeframe_start >= $period_start and timeframe_start < $period_end
    ) as is_changed
