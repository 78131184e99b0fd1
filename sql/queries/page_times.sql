-- When each page was read.
select seq, received_at from page where seq <= $as_of_seq::ubigint
