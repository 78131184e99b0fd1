-- Something that somebody did.
insert into deed (seq, done_at, kind, who, origin, what) values ($seq, $done_at, $kind, $who, $origin, $what)
