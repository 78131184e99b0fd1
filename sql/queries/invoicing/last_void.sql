-- The last record, as known at one, by which an invoice was voided; 0 where none was.
select coalesce(max(seq), 0)::ubigint as seq from invoice where series like 'credit_note %' and seq <= $as_of_seq
