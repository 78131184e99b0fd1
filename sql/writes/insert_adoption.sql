-- A person said that the store may go on.
insert into adoption (seq, is_compared, is_clock) values ($seq, $is_compared, $is_clock)
