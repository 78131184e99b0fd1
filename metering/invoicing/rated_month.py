"""The one way in which a month is rated for readers, so that reports, pages, backtests and comparisons agree.

A month that nobody closed is rated by today's terms. A closed one by the terms, names and existence of its closing and
by the usage known now, as its corrections are. Where it was closed in parts (parked, voided and closed anew), each
customer's amounts are by the closing that its invoice is from; who waits is rated by today's terms, as the drafts are.
Reads the store, writes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from metering.billing import terms
from metering.billing.month import Month
from metering.config import Config
from metering.core.period import Period
from metering.invoicing.amending import corrections
from metering.store.database import Store

Part = tuple[Month, Callable[[str], bool]]
"""A month as rated, and the customers (by id) whose amounts it gives."""


@dataclass(frozen=True, kw_only=True)
class RatedMonth:
    """A month as it is shown now; computed when first asked for."""

    store: Store
    config: Config
    period: Period
    now: datetime

    @cached_property
    def whole(self) -> Month:
        """Usage, cost and coverage of everybody: by the first closing, or by today's terms."""
        return corrections.first_closed(self.store, self.period, self.now) or self._today

    @cached_property
    def parts(self) -> Sequence[Part]:
        """Amounts: every customer belongs to one part."""
        closed, is_waiting = corrections.closed_parts(self.store, self.period, self.now)
        return [*closed, (self._today, is_waiting)] if closed else [(self.whole, lambda _: True)]

    @cached_property
    def _today(self) -> Month:
        return Month(store=self.store, terms=terms.of(self.config), period=self.period, now=self.now)
