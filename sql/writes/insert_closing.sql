-- One closing of a month: as of when, by which terms and rules, and what it could not bill.
insert into closing values ($seq, $month, $as_of, $as_of_seq, $sha256, $reason, $document, $rules, $paper)
