"""The rate card: its canonical bytes, and pydantic models as plain JSON.

Pure. Must not know customers, subscriptions or usage.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel

from metering.core.meters import Meter
from metering.core.money import Rounding
from metering.core.period import rfc3339
from metering.core.plans import Plan, Prorate


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """All that an invoice's figures depend on, except usage and subscriptions."""

    plans: tuple[Plan, ...]
    meters: tuple[Meter, ...]
    rounding: Rounding = "half_up"
    prorate: Prorate = "second"


def canonical(card: Card) -> bytes:
    """The card as JSON: sorted keys, plans by id, prices by meter and date, decimals as written.

    Quotas and `example` are left out, because they do not change what a month costs.
    """
    plans = []
    for plan in sorted(card.plans, key=lambda plan: plan.id):
        prices = sorted(plan.prices, key=lambda price: (price.meter, price.valid_from))
        whole = plan.model_copy(update={"prices": tuple(prices)})
        written = plain(whole.model_copy(update={"quota": {}}))
        assert isinstance(written, dict)
        plans.append({name: value for name, value in written.items() if name != "example"})
    document = {"meters": plain(card.meters), "plans": plans, "prorate": card.prorate, "rounding": card.rounding}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def plain(value: object) -> object:
    """A value as plain JSON, with every key of a model, and decimals with their digits as written."""
    match value:
        case BaseModel():
            return {name: plain(getattr(value, name)) for name in type(value).model_fields}
        case Decimal():
            return f"{value:f}"
        case datetime():
            return rfc3339(value)
        case tuple():
            return [plain(entry) for entry in value]
        case _:
            return value


def from_canonical(data: bytes) -> Card:
    """The inverse of `canonical`; the quotas are empty."""
    document = json.loads(data)
    return Card(
        plans=tuple(Plan.model_validate(plan) for plan in document["plans"]),
        meters=tuple(Meter.model_validate(meter) for meter in document["meters"]),
        rounding=document["rounding"],
        prorate=document["prorate"],
    )
