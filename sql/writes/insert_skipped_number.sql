-- A series goes on behind this number.
insert into skipped_number (seq, series, position) values ($seq, $series, $position)
