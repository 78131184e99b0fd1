"""Rates months for all readers, so that reports, pages, backtests and comparisons agree.

An open month is rated by today's pricing terms. A closed month is rated, as its corrections are, by the terms, names
and project existence of its closing and the usage known now. If customers belong to different closings (after a hold or
a void), each customer is rated by the closing of its invoice; customers who are not closed yet are rated like drafts,
by today's terms. Reads the store, writes nothing.
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
    """A rated month; each part is computed on first use."""

    recorded: Recorded
    config: Config
    period: Period
    now: datetime

    @cached_property
    def whole(self) -> Month:
        """Usage, cost and coverage of all customers, by the first closing or by today's terms."""
        return corrections.first_closed(self.recorded, self.period, self.now) or self.today

    @cached_property
    def parts(self) -> Sequence[Part]:
        """The parts to take amounts from; every customer belongs to exactly one."""
        closed, is_waiting = corrections.closed_parts(self.recorded, self.period, self.now)
        return [*closed, (self.today, is_waiting)] if closed else [(self.whole, lambda _: True)]

    @cached_property
    def today(self) -> Month:
        """The month by today's terms, like its drafts."""
        return Month(recorded=self.recorded, terms=terms.of(self.config), period=self.period, now=self.now)


@dataclass(frozen=True, kw_only=True)
class Months:
    """The months that one command needs, each rated once over the same state of the store; `made` caches them."""

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
        """The running month."""
        return self.of(month_of(self.now))


def months_of(store: Store, config: Config, now: datetime) -> Months:
    """An empty cache of rated months for a command that begins to read the store."""
    return Months(recorded=Recorded(store=store), config=config, now=now)
