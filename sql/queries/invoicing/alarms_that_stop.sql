-- Open alarms that stop a close. A new metric is not among them: it holds only the invoices of those who used it.
select alarm_id, summary from alarm where acknowledged_at is null and kind in ('unit', 'double') order by seq
