-- An invoice's lines sum to its subtotal (to its total where they include tax), and its total is the subtotal and all
-- taxes, to the last digit.
with sums as (
    select
        number,
        total::decimal(38, 4)                        as total,
        (document ->> '$.total')::decimal(38, 4)     as printed_total,
        (document ->> '$.subtotal')::decimal(38, 4)  as subtotal,
        coalesce((document ->> '$.tax_inclusive')::boolean, false) as is_inclusive,
        coalesce(list_sum((document ->> '$.lines[*].amount')::decimal(38, 4)[]), 0) as lines,
        coalesce(list_sum((document ->> '$.taxes[*].amount')::decimal(38, 4)[]), 0) as taxes
    from invoice
)
select number, total, printed_total, subtotal, lines, taxes
from sums
where lines <> if(is_inclusive, total, subtotal) or total <> subtotal + taxes or total <> printed_total
