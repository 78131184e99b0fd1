-- The credit note that cancels an invoice.
select document, status from invoice
where series like 'credit_note %' and document ->> '$.credits' = $number
