-- What the pages of a walk add up to.
select
    count(*)                                        as pages,
    count(*) filter (where fault is not null)       as refused,
    arg_min(fault, seq) filter (where fault is not null) as first_fault,
    list_sort(list_distinct(flatten(list(metrics)))) as metrics,
    list_sort(list_distinct(flatten(list(grains))))  as grains
from page
where walk = $walk
