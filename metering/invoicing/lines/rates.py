"""The rate card in the form that lines need, and the display names of meters.

Must not know lines, charges or documents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metering.core.meters import Meter
from metering.core.money import Rounding
from metering.core.parties import Customer, Discount
from metering.core.plans import Plan, Price, Prorate
from metering.rating.pools import Members, Pool

NAMES = {
    "compute": "Compute",
    "storage": "Storage",
    "storage_root": "Root branch storage",
    "storage_child": "Child branch storage",
    "instant_restore": "Instant restore",
    "snapshots": "Snapshots",
    "public_transfer": "Public transfer",
    "private_transfer": "Private transfer",
    "extra_branches": "Extra branches",
}
"""Display names of the built-in meters; other meters are shown by their id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The rate card by which charges become lines."""

    plans: Mapping[str, Plan]
    prices: Mapping[int, Price]
    meters: Mapping[str, Meter]
    rounding: Rounding = "half_up"
    prorate: Prorate = "second"
    discounts: Sequence[Discount] = ()
    customers: Mapping[str, Customer] = field(default_factory=dict)
    """Customers by id, for the taxes of their lines; a customer that is missing here has no tax."""
    pools: Mapping[Pool, Members] = field(default_factory=dict)
    """The projects that share each customer's charge (rating/pools.py); without them a line is not split."""
