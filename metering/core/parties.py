"""Organizations, customers, subscriptions and discounts: who uses, who pays, and what was agreed. Pure."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, model_validator

from metering.core.values import (
    Currency,
    Day,
    EnvironmentName,
    FilePath,
    Flag,
    FreeText,
    Id,
    Identifier,
    LocaleName,
    Moment,
    MonthStart,
    Percent,
    Positive,
    Text,
    WrittenFlag,
    named,
)


class Organization(BaseModel, frozen=True, extra="forbid"):
    """An organization of Neon's. Organizations of one `account` share a rate limit."""

    id: Identifier
    api_key_env: EnvironmentName | None = None
    api_key_file: FilePath | None = None
    plan: Text | None = None
    sponsored: Flag = False
    default_plan: Identifier | None = None
    account: Text = "main"
    history: Literal["v2", "legacy"] = "v2"


class Discount(BaseModel, frozen=True, extra="forbid"):
    """What a customer gets off whole months: a percentage of what earlier discounts left, or an amount."""

    customer: Id
    name: Text | None = None
    percent: Percent | None = None
    amount: Positive | None = None
    valid_from: MonthStart | None = None
    valid_to: MonthStart | None = None


TaxCategory = Literal["S", "Z", "E", "AE", "K", "G", "O"]
"""EN 16931's: standard, zero, exempt, reverse charge, inside the EU, export, outside the scope of tax."""


class DatedTax(BaseModel, frozen=True, extra="forbid"):
    """A customer's tax for [tax_from, tax_to), unbounded where None.

    Only these columns may differ between the rows of one customer.
    """

    tax_from: Day | None = None
    tax_to: Day | None = None
    tax_rate_percent: Percent | None = None
    tax_name: Text | None = None
    tax_category: TaxCategory | None = None
    tax_note: Text | None = None
    tax_id: Text | None = None

    def contains(self, moment: datetime) -> bool:
        """Whether it is in force then."""
        return (self.tax_from is None or self.tax_from <= moment) and (self.tax_to is None or moment < self.tax_to)


class Customer(BaseModel, frozen=True, extra="forbid"):
    """Who pays. A customer without a row of its own has its id as name, its plan's currency and no tax.

    `dated` holds the taxes of a customer with several rows (or with one that has dates) in the order of time; the tax
    columns of the customer itself are then those of the last one.
    """

    id: Id
    name: FreeText
    currency: Currency | None = None
    tax_rate_percent: Percent | None = None
    tax_name: Text | None = None
    tax_inclusive: WrittenFlag = False
    email: Text | None = None
    address: FreeText | None = None
    tax_id: Text | None = None
    country: Text | None = None
    locale: LocaleName | None = None
    street: Text | None = None
    city: Text | None = None
    postcode: Text | None = None
    tax_category: TaxCategory | None = None
    tax_note: Text | None = None
    stripe_customer: Text | None = None
    tax_from: Day | None = None
    tax_to: Day | None = None
    dated: tuple[DatedTax, ...] = ()
    line: int = 0
    place: str = ""
    """Where the row stands, for faults: `customers.csv row 3 (line 4)`; empty for a customer without a row."""

    _named = model_validator(mode="before")(named)

    @property
    def taxes(self) -> tuple[DatedTax, ...]:
        """The taxes in the order of time; one for ever where the row has no dates."""
        return self.dated or (tax_columns(self),)

    def tax_at(self, moment: datetime) -> DatedTax | None:
        """The tax in force at a moment; None where the dates of the rows do not reach there."""
        return next((tax for tax in self.taxes if tax.contains(moment)), None)

    def at(self, moment: datetime) -> "Customer":
        """The customer as at a moment: its tax columns are those in force then, or else the last ones."""
        found = self.tax_at(moment) if self.dated else None
        return self if found is None else self.model_copy(update={name: getattr(found, name) for name in MAY_DIFFER})


MAY_DIFFER = ("tax_rate_percent", "tax_name", "tax_category", "tax_note", "tax_id")
"""The columns in which the dated rows of one customer may differ."""


def tax_columns(row: Customer) -> DatedTax:
    """The tax columns of a customer's row."""
    return DatedTax.model_construct(**{name: getattr(row, name) for name in DatedTax.model_fields})


class Subscription(BaseModel, frozen=True, extra="forbid"):
    """A customer's dated choice of a plan for a project: [valid_from, valid_to), open where None.

    Without customer and plan the project is the operator's own: known, and billed to nobody.
    """

    project_id: Id
    customer: Id | None = None
    plan: Identifier | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    line: int = 0
    place: str = ""
    """Where the row stands, for faults: `subscriptions.csv row 3 (line 4)`; `line` is where it begins."""

    @property
    def is_own(self) -> bool:
        """Whether nobody is billed for the project in this time, on purpose."""
        return self.customer is None
