-- Each tax of a document is of its lines: those of its rate, name and category sum to its base (with the tax, where the
-- prices include it), and no line with a rate lacks its tax. Lines without tax keys belong to documents of older
-- versions.
with documents as (
    select number, document, coalesce((document ->> '$.tax_inclusive')::boolean, false) as is_inclusive
    from invoice
    where json_exists(document, '$.lines[0].tax_rate_percent')
),
lines as (
    select number, unnest(from_json(document -> '$.lines', '["json"]')) as line
    from documents
),
taxes as (
    select number, is_inclusive, unnest(from_json(document -> '$.taxes', '["json"]')) as tax
    from documents
),
line_sums as ( -- what has a category and no rate is taxed at 0 %
    select
        number,
        coalesce((line ->> '$.tax_rate_percent')::decimal(9, 4), 0)  as rate,
        line ->> '$.tax_name'                                        as name,
        coalesce(line ->> '$.tax_category', '')                      as category,
        sum((line ->> '$.amount')::decimal(38, 4))                   as amount
    from lines
    where (line ->> '$.tax_rate_percent') is not null or (line ->> '$.tax_category') is not null
    group by all
),
tax_sums as (
    select
        number,
        (tax ->> '$.rate_percent')::decimal(9, 4)                    as rate,
        tax ->> '$.name'                                             as name,
        coalesce(tax ->> '$.category', '')                           as category,
        (tax ->> '$.base')::decimal(38, 4)
            + if(is_inclusive, (tax ->> '$.amount')::decimal(38, 4), 0) as amount
    from taxes
)
select number, rate, category, l.name, l.amount as of_lines, t.amount as of_tax
from line_sums as l
full join tax_sums as t using (number, rate, category)
where (l.name is null or t.name is null or l.name = t.name)
    and l.amount is distinct from t.amount
    and (t.amount is not null or l.rate > 0)
