"""Unbilled usage as it is printed, by reason, and the sums of its value per currency. Pure."""

from collections.abc import Iterable

from msgspec import Struct

from metering.core.money import exact_sum
from metering.core.rows import grouped
from metering.rendering.figures import money_text


class MetricValue(Struct, frozen=True, kw_only=True):
    """A sum of one metric, in Neon's unit."""

    metric: str
    value: str


class Amount(Struct, frozen=True, kw_only=True):
    """A value in one currency."""

    currency: str
    amount: str


class NotBilled(Struct, frozen=True, kw_only=True):
    """What is left out for one reason; `hours` where nobody read them, which says nothing of usage."""

    reason: str
    projects: str | None = None
    hours: str | None = None
    usage: list[MetricValue] = []
    neon_cost: str | None = None
    worth: list[Amount] = []


class Worth(Struct, frozen=True, kw_only=True):
    """The value of some rows of one currency; currency None counts the rows that no plan prices."""

    currency: str | None
    rows: int
    worth: str | None


def worth(rows: Iterable[tuple[str | None, str | None]]) -> list[Worth]:
    """The sums of rows (currency, value), by currency; the rows without one last."""
    by_currency = grouped(rows, lambda row: row[0] or "")
    return [
        Worth(
            currency=currency or None,
            rows=len(found),
            worth=money_text(exact_sum(value or "0" for _, value in found), currency) if currency else None,
        )
        for currency, found in sorted(by_currency.items(), key=lambda item: (not item[0], item[0]))
    ]
