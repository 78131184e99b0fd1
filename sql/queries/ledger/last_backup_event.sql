-- What was told last of the continuous backup: that it fails, or that it works again.
select event_type, body from alert where event_type in ('backup.failing', 'backup.recovered') order by seq desc limit 1
