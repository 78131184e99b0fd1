"""Names of the three grains in which usage is known. Pure."""

GRAINS = ("hourly", "daily", "monthly")
