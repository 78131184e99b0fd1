"""The one way in which months are rated for readers, so that reports, pages, backtests and comparisons agree.

A month that nobody closed is rated by today's terms. A closed one by the terms, names and existence of its closing and
by the usage known now, as its corrections are. Where it was closed in parts (parked, voided and closed anew), each
customer's amounts are by the closing that its invoice is from; who waits is rated by today's terms, as the drafts are.
Reads the store, writes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.config import Config
from metering.core.period import Period, month_of
from metering.invoicing.amending import corrections
from metering.store.database import Store

Part = tuple[Month, Callable[[str], bool]]
"""A month as rated, and the customers (by id) whose amounts it gives."""


@dataclass(frozen=True, kw_only=True)
class RatedMonth:
    """A month as it is shown now; computed when first asked for."""

    recorded: Recorded
    config: Config
    period: Period
    now: datetime

    @cached_property
    def whole(self) -> Month:
        """Usage, cost and coverage of everybody: by the first closing, or by today's terms."""
        return corrections.first_closed(self.recorded, self.period, self.now) or self.today

    @cached_property
    def parts(self) -> Sequence[Part]:
        """Amounts: every customer belongs to one part."""
        closed, is_waiting = corrections.closed_parts(self.recorded, self.period, self.now)
        return [*closed, (self.today, is_waiting)] if closed else [(self.whole, lambda _: True)]

    @cached_property
    def today(self) -> Month:
        """The month by today's terms, as its drafts are."""
        return Month(recorded=self.recorded, terms=terms.of(self.config), period=self.period, now=self.now)


@dataclass(frozen=True, kw_only=True)
class Months:
    """The months that one command shows, each made once over one reading of the store; `made` are there already."""

    recorded: Recorded
    config: Config
    now: datetime
    made: dict[Period, RatedMonth] = field(default_factory=dict)

    def of(self, period: Period) -> RatedMonth:
        """The month of that period."""
        if period not in self.made:
            self.made[period] = RatedMonth(recorded=self.recorded, config=self.config, period=period, now=self.now)
        return self.made[period]

    @property
    def running(self) -> RatedMonth:
        """The month that is not over."""
        return self.of(month_of(self.now))


def months_of(store: Store, config: Config, now: datetime) -> Months:
    """The months of a command that begins to read the store."""
    return Months(recorded=Recorded(store=store), config=config, now=now)
