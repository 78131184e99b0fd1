-- Issued invoices and credit notes, one row each. Drafts are computed, never stored.
create or replace view invoices as
select
    number,                                               -- INV-…, or CN-… for a credit note
    month,                                                -- 2026-10: the month that it bills
    customer,                                             -- the customer's id
    document ->> '$.customer.name'                    as customer_name, -- as printed
    status,                                               -- final | void
    currency,                                             -- ISO 4217
    (document ->> '$.subtotal')::decimal(38, 4)       as subtotal,      -- before tax
    total::decimal(38, 4) - (document ->> '$.subtotal')::decimal(38, 4) as tax, -- of all rates together
    total::decimal(38, 4)                             as total,         -- subtotal and tax
    coalesce((document ->> '$.tax_inclusive')::boolean, false) as tax_inclusive, -- whether the lines sum to the total
    issued_at,                                            -- when the month was closed
    (document ->> '$.due_at')::timestamptz            as due_at,        -- when it is to be paid
    series,                                               -- numbers are gapless in their series
    position,                                             -- from 1 in its series
    seq                                                   -- the journal record that issued it
from invoice
