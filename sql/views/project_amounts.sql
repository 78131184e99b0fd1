-- What each project was charged on issued invoices and credit notes: its own lines, and its part of its customer's.
create or replace view project_amounts as
with lines as (
    select number, month, customer, status, currency, unnest(from_json(document -> '$.lines', '["json"]')) as line
    from invoice
),
parts as ( -- a line of a project's own is its only part; of a customer's other lines (a discount) nobody has one
    select
        *,
        unnest(
            case
                when (line -> '$.projects') is not null then from_json(line -> '$.projects', '["json"]')
                when (line ->> '$.project_id') is not null then [line]
                else []
            end
        ) as part
    from lines
)
select
    number,                                               -- the invoice's
    month,                                                -- 2026-10: the month that it bills
    customer,                                             -- the customer's id
    status,                                               -- final | void, of the invoice
    currency,                                             -- ISO 4217
    line ->> '$.key'                                  as key,         -- of the line
    line ->> '$.kind'                                 as kind,        -- usage | base_fee | minimum | discount | adjustment
    part ->> '$.project_id'                           as project_id,  -- never null
    line ->> '$.plan'                                 as plan,        -- our plan's id
    line ->> '$.meter'                                as meter,       -- null on a fee
    (part ->> '$.quantity')::decimal(38, 12)          as quantity,    -- in the unit of the line
    (part ->> '$.amount')::decimal(38, 4)             as amount       -- with tax where its invoice is tax_inclusive
from parts
