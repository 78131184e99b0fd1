-- An epoch began.
insert into epoch (seq, epoch, because, lost_up_to) values ($seq, $epoch, $because, $lost_up_to)
