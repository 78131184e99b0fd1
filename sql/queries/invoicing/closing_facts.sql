-- The closings of a month, in order.
select seq, as_of, as_of_seq, terms_sha256, allow_incomplete, document from closing where month = $month order by seq
