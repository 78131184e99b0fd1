-- Says that customers are parked no more in a month: a closing has settled them.
delete from parked where month = $month and list_contains($settled, customer)
