"""Faults inside a rate card: keys that a price model needs or refuses, tiers, versions and meters.

Pure. Must not know files: a fault names its key as config.toml writes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from metering.core.errors import Fault
from metering.core.meters import Meter
from metering.core.money import MINOR_UNITS
from metering.core.period import rfc3339
from metering.core.plans import Plan, Price
from metering.rating.models import MODELS, follows_cost

_KEYS_OF_MODELS = tuple(dict.fromkeys(key for model in MODELS.values() for key in model.needs))


def faults(plans: Sequence[Plan], meters: Sequence[Meter]) -> list[Fault]:
    """Everything wrong inside a rate card; `meters` is the whole catalogue. Keys as in config.toml (`plans[0].…`)."""
    out: list[Fault] = []
    known = {meter.id: meter for meter in meters}
    for i, plan in enumerate(plans):
        where = f"plans[{i}]"
        if plan.currency not in MINOR_UNITS:
            right = "write an ISO 4217 code such as USD"
            out.append(Fault(where=f"{where}.currency", what=f"{plan.currency!r} is no currency in use", right=right))
        for j, price in enumerate(plan.prices):
            out.extend(price_faults(price, f"{where}.prices[{j}]."))
        out.extend(_version_faults(plan, where))
        out.extend(_meter_faults(plan, where, known))
    out.extend(fault for meter in meters for fault in _divisor_faults(meter))
    return out


def _divisor_faults(meter: Meter) -> Iterator[Fault]:
    if len(set(meter.metrics)) < len(meter.metrics):
        what = f"{meter.id} names a metric twice"
        yield Fault(where=f"meters ({meter.id}).metrics", what=what, right="its usage would count twice")
    if len({divisor.valid_from for divisor in meter.divisors}) < len(meter.divisors):
        what = f"{meter.id} has two divisors from one date"
        yield Fault(where=f"meters ({meter.id}).divisors", what=what, right="give one of them another date")


def price_faults(price: Price, prefix: str = "") -> Iterator[Fault]:
    """What is wrong inside one price; `prefix` goes before each key."""
    needed = MODELS[price.model].needs
    for name in _KEYS_OF_MODELS:
        is_given = getattr(price, name) not in (None, ())
        if name in needed and not is_given:
            yield Fault(where=prefix + name, what="is missing", right=f"the model {price.model} needs it")
        if is_given and name not in needed:
            right = f"the model {price.model} takes {', '.join(sorted(needed))}"
            yield Fault(where=prefix + name, what=f"does not belong to the model {price.model}", right=right)
    if price.included_per_hour is not None and price.included:
        right = "write an allowance per hour or one per month"
        yield Fault(where=prefix + "included_per_hour", what="stands beside included", right=right)
    if price.minimum is not None and price.maximum is not None and price.minimum > price.maximum:
        right = f"write at least {price.minimum}"
        yield Fault(where=prefix + "maximum", what=f"{price.maximum} is below the minimum", right=right)
    if follows_cost(price):
        yield from _cost_faults(price, prefix)
    yield from _tier_faults(price, prefix)


def _cost_faults(price: Price, prefix: str) -> Iterator[Fault]:
    if price.included or price.included_per_hour is not None:
        name = "included" if price.included else "included_per_hour"
        right = "leave it out: what Neon includes is off the cost already"
        yield Fault(where=prefix + name, what=f"does not belong to the model {price.model}", right=right)
    if price.scope == "customer":
        right = 'write scope = "project": Neon charges each project by itself'
        yield Fault(where=prefix + "scope", what=f"customer does not go with the model {price.model}", right=right)


def _tier_faults(price: Price, prefix: str) -> Iterator[Fault]:
    before = None
    for k, tier in enumerate(price.tiers):
        where = f"{prefix}tiers[{k}].up_to"
        is_last = k == len(price.tiers) - 1
        if is_last and tier.up_to is not None:
            yield Fault(
                where=where, what=f"ends the last tier at {tier.up_to}", right="leave up_to out of the last tier"
            )
        if not is_last and tier.up_to is None:
            yield Fault(where=where, what="is missing", right="only the last tier has no end")
        if tier.up_to is not None and before is not None and tier.up_to <= before:
            yield Fault(where=where, what=f"{tier.up_to} is not above {before}", right="write tiers in ascending order")
        before = tier.up_to if tier.up_to is not None else before


def _version_faults(plan: Plan, where: str) -> Iterator[Fault]:
    seen: dict[tuple[str, datetime], int] = {}
    scopes: dict[str, tuple[int, str]] = {}
    for j, price in enumerate(plan.prices):
        first = seen.setdefault((price.meter, price.valid_from), j)
        if first != j:
            yield Fault(
                where=f"{where}.prices[{j}].valid_from",
                what=f"prices[{first}] prices {price.meter} from {rfc3339(price.valid_from)} too",
                right="give one of them another date",
            )
        number, scope = scopes.setdefault(price.meter, (j, price.scope))
        if scope != price.scope:
            yield Fault(
                where=f"{where}.prices[{j}].scope",
                what=f"is {price.scope}, but {scope} in prices[{number}] of the same meter",
                right="tiers continue across a price change, so all versions count the same usage",
            )


def _meter_faults(plan: Plan, where: str, known: Mapping[str, Meter]) -> Iterator[Fault]:
    owner: dict[str, str] = {}
    reported: set[str] = set()
    for j, price in enumerate(plan.prices):
        key = f"{where}.prices[{j}].meter"
        if price.meter not in known:
            yield Fault(
                where=key, what=f"there is no meter {price.meter!r}", right=f"known: {', '.join(sorted(known))}"
            )
            continue
        for metric in known[price.meter].metrics:
            other = owner.setdefault(metric, price.meter)
            if other != price.meter and price.meter not in reported:
                reported.add(price.meter)
                what = f"{price.meter} and {other} both count {metric}"
                yield Fault(where=key, what=what, right="price one of them: the usage would be charged twice")
