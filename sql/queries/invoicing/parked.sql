-- Customers whose invoice of the month waits, and why.
select customer, reason from parked where month = $month order by customer
