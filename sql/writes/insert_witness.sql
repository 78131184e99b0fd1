-- From here on the store is compared with this witness.
insert into witness (seq, path) values ($seq, $path)
