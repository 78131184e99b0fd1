-- The lines of issued invoices and credit notes.
create or replace view invoice_lines as
with lines as (
    select number, month, customer, status, currency, unnest(from_json(document -> '$.lines', '["json"]')) as line
    from invoice
)
select
    number,                                               -- the invoice's
    month,                                                -- 2026-10: the month that it bills
    customer,                                             -- the customer's id
    status,                                               -- final | void, of the invoice
    currency,                                             -- ISO 4217
    line ->> '$.key'                                  as key,         -- stable within the invoice
    line ->> '$.kind'                                 as kind,        -- usage | base_fee | minimum | discount | adjustment
    line ->> '$.project_id'                           as project_id,  -- null on a customer's own line
    line ->> '$.plan'                                 as plan,        -- our plan's id
    line ->> '$.meter'                                as meter,       -- null on a fee
    line ->> '$.description'                          as description, -- as printed
    (line ->> '$.from')::timestamptz                  as period_start, -- the time that it bills
    (line ->> '$.to')::timestamptz                    as period_end,  -- no longer in it
    (line ->> '$.quantity')::decimal(38, 12)          as quantity,    -- what this tier bills, in the unit
    line ->> '$.unit'                                 as unit,        -- of the quantity
    (line ->> '$.unit_price')::decimal(38, 18)        as unit_price,  -- null where a line has none
    (line ->> '$.amount')::decimal(38, 4)             as amount,      -- rounded once; with tax where its invoice is tax_inclusive
    (line ->> '$.tax_rate_percent')::decimal(9, 4)    as tax_rate_percent, -- null without a tax
    line ->> '$.tax_name'                             as tax_name,    -- null without a tax
    line ->> '$.tax_category'                         as tax_category -- of EN 16931, where customers.csv has one
from lines
