"""Plans and their dated prices, as the configuration and the frozen pricing terms hold them. Pure."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, PlainValidator, model_validator

from metering.core.quotas import QUOTAS
from metering.core.values import (
    Count,
    Currency,
    Flag,
    Identifier,
    Markup,
    Moment,
    NotNegative,
    Positive,
    Text,
    closest,
    named,
    one_line,
    refuse,
)


def _quota_name(value: object) -> str:
    name = one_line(value)
    if name not in QUOTAS:
        refuse("is not a known key", closest(name, tuple(QUOTAS)))
    return name


ModelName = Literal["per_unit", "graduated", "volume", "package", "cost_plus"]
"""The price models: rating/models.py says what each is."""

Prorate = Literal["second", "day", "none"]
"""How the time that a project has a plan becomes its share of a month."""

QuotaName = Annotated[str, PlainValidator(_quota_name)]


class Tier(BaseModel, frozen=True, extra="forbid"):
    """A band of the quantity after the allowance, up to and including `up_to`; without it, endless."""

    up_to: Positive | None = None
    unit_price: NotNegative
    flat_fee: NotNegative = Decimal(0)


class Price(BaseModel, frozen=True, extra="forbid"):
    """What one meter costs from a date on; amounts in the plan's currency, quantities in the meter's unit."""

    meter: Identifier
    valid_from: Moment
    model: ModelName
    scope: Literal["project", "customer"] = "project"
    included: NotNegative = Decimal(0)
    included_per_hour: NotNegative | None = None
    tiers: tuple[Tier, ...] = ()
    unit_price: NotNegative | None = None
    package_size: Positive | None = None
    package_price: NotNegative | None = None
    markup_percent: Markup | None = None
    minimum: NotNegative | None = None
    maximum: NotNegative | None = None
    flat_fee_at_zero: Flag = False


class Plan(BaseModel, frozen=True, extra="forbid"):
    """An offer: prices and quotas in one currency. Fees are per month; `minimum` is per customer and month.

    What a plan `extends` is part of it once read (config/inheritance.py). `example`: its prices are those that `init`
    wrote, so no month that uses it closes.
    """

    id: Identifier
    name: Text
    currency: Currency
    base_fee: NotNegative = Decimal(0)
    base_fee_scope: Literal["project", "customer"] = "project"
    minimum: NotNegative = Decimal(0)
    example: Flag = False
    quota: dict[QuotaName, Count] = {}
    prices: tuple[Price, ...] = ()

    _named = model_validator(mode="before")(named)
