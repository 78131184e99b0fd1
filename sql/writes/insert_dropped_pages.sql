-- A range of records whose pages' bodies retention takes out of the journal.
insert into dropped_pages values ($seq, $at, $first, $last, $keep_pages_days)
