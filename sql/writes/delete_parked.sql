-- Ends the holds of customers in a month: a closing has settled them.
delete from parked where month = $month and list_contains($settled, customer)
