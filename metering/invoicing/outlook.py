"""Forecasts the running month: invoices and our Neon cost, if the rest of the month is like the last weeks.

Rates the usage known so far together with an estimate for the remaining hours: the mean of the project's last one to
four whole weeks; for a younger project, the mean of its hours in this month. The range assumes a rest like the weeks
with the least and the most usage. Reads the store, writes nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

import polars as pl
from msgspec import UNSET, Struct, UnsetType

from metering.billing.month import Month
from metering.billing.sums import MonthUsage
from metering.billing.weeks import whole_weeks
from metering.core.errors import UsageError
from metering.core.frames import Int128, Moment
from metering.core.invoice import Printed, Span, printed
from metering.core.money import amount_text
from metering.core.period import HOUR, Period, floor_hour, month_name, rfc3339
from metering.invoicing.drafts import Sums, billed
from metering.usage import forecast
from metering.usage.attribution import USAGE
from metering.usage.coverage import MONTHLY, selection

WEEK = timedelta(weeks=1)
COST_CURRENCY = "USD"
_KEYS = ["organization", "project_id", "metric"]


class Expected(Struct, frozen=True, kw_only=True):
    """An amount so far, at the month's end, and the range by single weeks, where several are known."""

    customer: str | UnsetType = UNSET
    currency: str
    so_far: str
    expected: str
    low: str | None
    high: str | None


class Outlook(Struct, frozen=True, kw_only=True):
    """What `forecast` prints: amounts per customer and currency, per currency, and Neon's cost."""

    period: Span
    as_of: str
    hours_left: str
    method: str
    customers: list[Expected]
    totals: list[Expected]
    neon_cost: Expected

    def document(self) -> Printed:
        """The keys of the public interface in their order."""
        return printed(self)


def outlook(month: Month) -> Outlook:
    """The outlook of the running month. Raises UsageError for a month that is over."""
    if not month.is_open:
        raise UsageError(f"{month_name(month.period)} is over", hint="`metering invoices` shows what it came to")
    rest = _Rest(month=month)
    rests = [_dated(month, rows) for rows in (rest.expected, *map(rest.like_week, range(rest.most_weeks)))]
    rated = [_by_currency(billed(one)) for one in _months(month, rests)]
    costs = month.cost.totals([month.rest, *rests])
    keys = sorted({key for sums in rated for key in sums if key[0] is not None})
    return Outlook(
        period=Span(start=rfc3339(month.period.start), end=rfc3339(month.period.end)),
        as_of=rfc3339(month.now),
        hours_left=str(rest.hours_left),
        method=f"mean of up to {rest.most_weeks} whole weeks" if rest.most_weeks else "mean of the month so far",
        customers=[
            _told([sums.get((customer, currency), 0) for sums in rated], currency, customer or UNSET)
            for customer, currency in keys
        ],
        totals=[
            _told([sums.get((None, currency), 0) for sums in rated], currency)
            for currency in sorted({currency for _, currency in keys})
        ],
        neon_cost=_told(costs, COST_CURRENCY),
    )


def _months(month: Month, rests: Iterable[pl.DataFrame]) -> Iterator[Month]:
    """The month so far, and with each estimate of its rest; one at a time, because each holds a whole rating."""
    yield month
    for rest in rests:
        yield replace(month, rest=rest, known=month)


def _by_currency(sums: Sums) -> dict[tuple[str | None, str], int]:
    """Amounts by currency and customer; under None, those of all customers."""
    out: dict[tuple[str | None, str], int] = defaultdict(int)
    for (customer, _, currency), amount in sums.items():
        out[customer, currency] += amount
        out[None, currency] += amount
    return out


def _told(amounts: list[int], currency: str, customer: str | UnsetType = UNSET) -> Expected:
    """Amounts so far, expected, and for each single week as the rest."""
    so_far, expected, *weeks = amounts
    return Expected(
        customer=customer,
        currency=currency,
        so_far=amount_text(so_far, currency),
        expected=amount_text(expected, currency),
        low=amount_text(min(weeks), currency) if len(weeks) > 1 else None,
        high=amount_text(max(weeks), currency) if len(weeks) > 1 else None,
    )


@dataclass(frozen=True, kw_only=True)
class _Rest:
    """Estimates the remaining usage as USAGE rows that begin now."""

    month: Month

    @cached_property
    def _now(self) -> datetime:
        now = floor_hour(self.month.now)
        return now if now == self.month.now else now + HOUR

    @property
    def hours_left(self) -> int:
        """Number of whole hours of the month that begin from now on."""
        return max(0, (self.month.period.end - self._now) // HOUR)

    @cached_property
    def most_weeks(self) -> int:
        """The most whole weeks of history that any project has."""
        found = self._known["weeks"].max()
        return found if isinstance(found, int) else 0

    @cached_property
    def _known(self) -> pl.DataFrame:
        """project_id, weeks of every project that exists now; its hours in the month if it has no whole week."""
        alive = self.month.projects.existence.filter(
            pl.col("exists_to").is_null() | (pl.col("exists_to") > self.month.now)
        )
        began = pl.max_horizontal(pl.col("exists_from"), pl.lit(self.month.period.start, dtype=Moment))
        hours = (pl.lit(self._now, dtype=Moment) - began).dt.total_hours().clip(1)
        weeks = whole_weeks(self.month, alive["project_id"].to_list()).select("project_id", "weeks")
        return (
            alive.select("project_id", young_hours=hours)
            .join(weeks, on="project_id", how="left")
            .with_columns(pl.col("weeks").fill_null(0).cast(pl.Int64))
        )

    def _sums(self, period: Period) -> pl.DataFrame:
        """organization, project_id, metric, value of a period before now."""
        month = self.month
        counted = {
            organization: [part for part in selection(certified, period, is_open=True) if part.grain != MONTHLY]
            for organization, certified in month.knowledge.certified.items()
        }
        found = MonthUsage(recorded=month.recorded, period=period, counted=counted, cuts=())
        return found.sums.group_by(_KEYS).agg(pl.col("value").sum())

    @cached_property
    def _weeks(self) -> list[pl.DataFrame]:
        end = floor_hour(self.month.now)
        return [
            self._sums(Period(start=end - (number + 1) * WEEK, end=end - number * WEEK))
            for number in range(self.most_weeks)
        ]

    @cached_property
    def expected(self) -> pl.DataFrame:
        """The mean of each project's weeks; for a younger project, of its hours in the month."""
        numbered = [frame.with_columns(number=pl.lit(n, dtype=pl.Int64)) for n, frame in enumerate(self._weeks)]
        weekly = pl.concat([*numbered, self._none()]).join(self._known, on="project_id")
        old = (
            weekly.filter(pl.col("number") < pl.col("weeks"))
            .group_by(*_KEYS, "weeks")
            .agg(pl.col("value").sum())
            .with_columns(hours=pl.col("weeks") * forecast.WEEK_HOURS)
        )
        young = (
            self.month.usage.sums.group_by(_KEYS).agg(pl.col("value").sum())
            .join(self._known.filter(pl.col("weeks") == 0), on="project_id")
            .with_columns(hours="young_hours")
        )  # fmt: skip
        columns = [*_KEYS, "value", "hours"]
        return self._rows(pl.concat([old.select(columns), young.select(columns)]))

    def _none(self) -> pl.DataFrame:
        kinds = {**dict.fromkeys(_KEYS, pl.String()), "value": Int128, "number": pl.Int64()}
        return pl.DataFrame(schema=kinds)

    def like_week(self, number: int) -> pl.DataFrame:
        """Like one single week (0 is the last); projects without that week as in `expected`."""
        has_it = self._known.filter(pl.col("weeks") > number)
        mine = self._weeks[number].join(has_it, on="project_id").with_columns(
            hours=pl.lit(forecast.WEEK_HOURS, dtype=pl.Int64)
        )  # fmt: skip
        others = self.expected.join(has_it, on="project_id", how="anti")
        return pl.concat([self._rows(mine.select(*_KEYS, "value", "hours")), others])

    def _rows(self, rates: pl.DataFrame) -> pl.DataFrame:
        left = pl.lit(self.hours_left, dtype=Int128)
        return (
            rates.with_columns(
                value=pl.col("value").cast(Int128) * left // pl.col("hours").cast(Int128),
                start=pl.lit(self._now, dtype=Moment),
                end=pl.lit(self.month.period.end, dtype=Moment),
                grain=pl.lit(0, dtype=pl.UInt8),
                read_at=pl.lit(self.month.now, dtype=Moment),
                times=pl.lit(1, dtype=pl.Int64),
            )
            .filter(pl.col("value") > 0)
            .select(pl.col(name).cast(kind) for name, kind in USAGE.items())
        )


def _dated(month: Month, rest: pl.DataFrame) -> pl.DataFrame:
    """The rows with `read_at` now, for metrics whose unit depends on the time of reading."""
    is_dated = pl.col("metric").is_in(month.terms.dated_metrics)
    return rest.with_columns(read_at=pl.when(is_dated).then("read_at"))
