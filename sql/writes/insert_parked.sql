-- A customer whose invoice a closing parked, and why; the latest closing's reason counts.
insert or replace into parked values ($month, $customer, $seq, $reason)
