-- The checkpoint that shows the store at a record, where one was named.
select seq, made_at, manifest_sha256 from checkpoint where up_to_seq = $seq
