-- One checkpoint, made and compared with a replay of the journal.
insert into checkpoint values ($seq, $at, $up_to, $manifest_sha256)
