-- The store knows exactly one place in the journal.
select count(*) as positions from position having count(*) <> 1
