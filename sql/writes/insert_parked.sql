-- A customer whose invoice a closing held back, and why; the latest closing's reason counts.
insert or replace into parked values ($month, $customer, $seq, $reason)
