-- Says which record of the journal is the last that the store holds.
update position set seq = $seq, hash = $hash
