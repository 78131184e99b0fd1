-- Counts of everything recorded since the first record.
select
    coalesce((select sum(requests) from cycle), 0)::bigint                    as requests,
    (select count(*) from page)                                               as pages,
    (select count(*) from observation)
        + (select count(*) from observation_other)                            as changes,
    (select count(*) from cycle)                                              as cycles,
    (select count(*) from cycle where outcome <> 'complete')                  as incomplete_cycles,
    (select count(*) from alert)                                              as alerts,
    (select count(*) from delivery_attempt)                                   as delivery_attempts
