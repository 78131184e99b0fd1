-- When what showed a change was read.
select seq, received_at from shown_by where seq <= $as_of_seq::ubigint
