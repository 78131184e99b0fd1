-- A read of a list that has ended, complete or not.
insert into walk
values (
    $walk, $seq, $endpoint, $organization, $grain, $period_start, $period_end, $first_sent_at, $pages, $is_complete,
    $reason, $kind
)
