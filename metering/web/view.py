"""A view of a snapshot: one published snapshot, one configuration, one moment, and the figures computed from them.

A figure is a function of the view (figures.py) or of one of its months. It is computed when it is
first asked for and kept, because the snapshot never changes. Must not know pages, requests or who asks.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from metering.billing import terms
from metering.billing.terms import Terms
from metering.config import Config
from metering.core.errors import MeteringError
from metering.core.period import Period, month_name, parse_month, rfc3339
from metering.core.rows import Row
from metering.invoicing.outlook import outlook
from metering.ledger import reading
from metering.quotas.status import running
from metering.store import snapshots
from metering.store.database import Store
from metering.web.ahead import Ahead

Value = TypeVar("Value")
Filter = Callable[[Any], Any]
Known = dict[Callable[..., object], Any]
"""Figure -> its computed value."""

MOST_MONTHS = 3
"""The number of months whose figures are kept; the month requested first is dropped first."""
MOST_ANSWERS = 100
"""The number of answers of `View.ask` that are kept."""


class NotFoundError(MeteringError):
    """The thing that an address names does not exist: a 404."""


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class View:
    """One snapshot with one configuration at `now`. Thread-safe."""

    config: Config
    now: datetime
    terms: Terms
    store: Store
    ahead: Ahead[Row]
    """What `forecast` prints."""
    filter: Filter | None = None
    """What every value passes on its way to somebody who may not see all of it."""
    turn: threading.RLock = field(default_factory=threading.RLock)
    """Held while something is computed: a connection is for one thread at a time."""
    _known: Known = field(default_factory=dict)
    _months: OrderedDict[str, Known] = field(default_factory=OrderedDict)
    _answers: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)

    def get(self, figure: Callable[["View"], Value]) -> Value:
        """The value of a figure."""
        if self.filter is None:
            return _computed_once(self.turn, self._known, figure, self)
        found: Value = self.whole.get(_filtered(figure, self.filter))
        return found

    def ask(self, key: Hashable, work: Callable[[Store], Value]) -> Value:
        """The answer for `key`, computed by `work` at the first request: for questions that few requests ask."""
        with self.turn:
            if key not in self._answers:
                self._answers[key] = work(self.store)
                _forget_first(self._answers, MOST_ANSWERS)
            answer: Value = self._answers[key]
        return self.shown(answer)

    def shown(self, value: Value) -> Value:
        """A value without what the filter takes out."""
        found: Value = value if self.filter is None else self.filter(value)
        return found

    @property
    def whole(self) -> "View":
        """The view without its filter: for questions whose answer passes it."""
        return self if self.filter is None else replace(self, filter=None)

    def month(self, text: str) -> "MonthView":
        """The month `2026-10`, `current` or `previous`. Raises UsageError for anything else."""
        period = parse_month(text, self.now)
        with self.turn:
            known = self._months.setdefault(month_name(period), {})
            _forget_first(self._months, MOST_MONTHS)
        return MonthView(view=self, period=period, known=known)

    def outlook(self, *, wait_seconds: int = 0) -> Row | None:
        """What `forecast` prints, or None while it is being computed. Raises the error of the forecast."""
        return self.shown(self.ahead.result(wait_seconds=wait_seconds))

    @property
    def months_asked(self) -> Sequence[str]:
        """The months whose figures are kept, as `2026-10`."""
        with self.turn:
            return tuple(self._months)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MonthView:
    """One month of a view."""

    view: View
    period: Period
    known: Known

    def get(self, figure: Callable[["MonthView"], Value]) -> Value:
        """The value of a figure of the month."""
        if self.view.filter is None:
            return _computed_once(self.view.turn, self.known, figure, self)
        found: Value = self.whole.get(_filtered(figure, self.view.filter))
        return found

    @property
    def whole(self) -> "MonthView":
        """The month without the view's filter."""
        return replace(self, view=self.view.whole)

    @property
    def name(self) -> str:
        """`2026-10`."""
        return month_name(self.period)

    @property
    def is_running(self) -> bool:
        """Whether the month has begun and is not over."""
        return self.period.contains(self.view.now)

    @property
    def as_of(self) -> str:
        """The view's moment, as text."""
        return rfc3339(self.view.now)


def opened(config: Config, now: datetime) -> View:
    """A view of the current snapshot. Raises StoreDamagedError where it cannot be read."""
    reading.make_complete(config.store.directory)
    store = snapshots.hold(config.store.directory)
    beside = snapshots.beside(store)
    ahead: Ahead[Row] = Ahead(lambda: outlook(running(beside, terms.of(config), now)).document())
    return View(config=config, now=now, terms=terms.of(config), store=store, ahead=ahead)


Owner = TypeVar("Owner")


@cache
def _filtered(figure: Callable[[Any], Any], through: Filter) -> Callable[[Any], Any]:
    """The figure without what the filter takes out; always the same function, so that its value is kept."""
    return lambda owner: through(owner.get(figure))


def _computed_once(turn: threading.RLock, known: Known, figure: Callable[[Owner], Value], owner: Owner) -> Value:
    """The figure's value: read without the lock where it exists, else computed by one thread while others wait."""
    if figure not in known:
        with turn:
            if figure not in known:
                known[figure] = figure(owner)
    value: Value = known[figure]
    return value


def _forget_first(kept: OrderedDict[Any, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
