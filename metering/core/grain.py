"""Names of the three grains in which usage is known. Pure."""

GRAIN_NAMES = ("hourly", "daily", "monthly")


GRAINS = ("hourly", "daily", "monthly")
