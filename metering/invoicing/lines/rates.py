"""What lines are made from beside usage: the rate card as rated, and how a line calls a meter.

Must not know lines, charges or documents.
"""

from collections.abc import Iterable, Mapping, Sequence
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
"""What a line calls a meter of the built-in catalogue; another is called by its id."""


_NO_POOLS: Mapping[Pool, Members] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What lines are made from, beside the charges: the rate card as rated."""

    plans: Mapping[str, Plan]
    prices: Mapping[int, Price]
    meters: Mapping[str, Meter]
    rounding: Rounding = "half_up"
    prorate: Prorate = "second"
    discounts: Sequence[Discount] = ()
    customers: Mapping[str, Customer] = field(default_factory=dict)
    """By id: whose taxes the lines have. A customer that is not there has none."""
    pools: Mapping[Pool, Members] = field(default_factory=dict)
    """The projects whose usage a customer's charge holds (rating/pools.py); without them lines stay whole."""


def rates(  # noqa: PLR0913 - what a rate card is made of
    plans: Iterable[Plan],
    prices: Mapping[int, Price],
    meters: Iterable[Meter],
    *,
    rounding: Rounding = "half_up",
    prorate: Prorate = "second",
    discounts: Sequence[Discount] = (),
    customers: Iterable[Customer] = (),
    pools: Mapping[Pool, Members] = _NO_POOLS,
) -> Rates:
    """Rates from lists as config and ratecard give them."""
    return Rates(
        plans={plan.id: plan for plan in plans},
        prices=prices,
        meters={meter.id: meter for meter in meters},
        rounding=rounding,
        prorate=prorate,
        discounts=discounts,
        customers={customer.id: customer for customer in customers},
        pools=pools,
    )
