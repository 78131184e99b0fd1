-- The last journal record that this store holds, and its place in the chain.
select seq, hash from position
