"""The state of each month on the way to its close: open, closable, blocked or closed, since when, and by whom.

Reads the store and the configuration, writes nothing; must not close anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.config import Config
from metering.core.period import Period, month_name, month_of, parse_time, previous_month, rfc3339
from metering.invoicing import blockers, readiness
from metering.invoicing.blockers import Reason
from metering.invoicing.readiness import closes_from, first_month, may_close_by_itself
from metering.invoicing.readiness import settled_at as closing_times_settled_at
from metering.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthState:
    """One month. `closes_at`: when it closes by itself, or None; `by_hand` then says why not.

    `state` is open (running, or not settled), closable, blocked or closed; `waiting` counts the customers of a closed
    month whose invoice waits (on hold, or void and not issued anew); `blocked_by` is what stops a close by command.
    """

    month: Period
    state: str
    closable_from: datetime
    closes_at: datetime | None = None
    by_hand: str | None = None
    closed_at: datetime | None = None
    closed_by: str | None = None
    waiting: int = 0
    blocked_by: tuple[Reason, ...] = ()

    def document(self) -> dict[str, Any]:
        """The month as JSON; counts are decimal strings."""
        return {
            "month": month_name(self.month),
            "state": self.state,
            "closable_from": rfc3339(self.closable_from),
            "closes_by_itself_from": self.closes_at and rfc3339(self.closes_at),
            "by_hand_because": self.by_hand,
            "closed_at": self.closed_at and rfc3339(self.closed_at),
            "closed_by": self.closed_by,
            "waiting": str(self.waiting),
            "blocked_by": [reason.document() for reason in self.blocked_by],
        }


def told(month: Mapping[str, Any]) -> str:
    """A month's document in one line."""
    return f"{month['month']} {'; '.join(_parts(month))}"


def _parts(month: Mapping[str, Any]) -> Iterator[str]:
    command = f"metering close {month['month']}"
    if month["closed_at"] is not None:
        by = {"typed": "hand"}.get(month["closed_by"], month["closed_by"])
        yield f"closed at {month['closed_at']}" + (f" by {by}" if by else "")
        if month["waiting"] != "0":
            yield f"{month['waiting']} customers wait: {command}"
        return
    if month["state"] == "open":
        yield f"open, closable from {month['closable_from']}"
    else:
        yield f"{'blocked, ' if month['state'] == 'blocked' else ''}closable since {month['closable_from']}"
    if month["closes_by_itself_from"] is not None:
        yield f"closes by itself from {month['closes_by_itself_from']}"
    else:
        yield f"closed by hand only ({month['by_hand_because']}): {command}"
    yield from (f"{reason['reason']}: {reason['way_out']}" for reason in month["blocked_by"])


def states(store: Store, config: Config, now: datetime) -> list[MonthState]:
    """Every month from the first with coverage or a closing to the running one."""
    closings = {row["month"]: row for row in store.query("invoicing/closed_months").iter_rows(named=True)}
    covered = store.query("billing/first_coverage", before=now)["period_start"].min()
    starts = [month_of(now).start, *(parse_time(f"{name}-01T00:00:00Z") for name in closings)]
    if isinstance(covered, datetime):
        starts.append(month_of(covered).start)
    period, out, first = month_of(min(starts)), [], first_month(store, config.schedule)
    while period.start <= now:
        out.append(_state(store, config, period, now, first, closings.get(month_name(period))))
        period = month_of(period.end)
    return out


def _state(  # noqa: PLR0913, PLR0917 - a month, and what is known of all
    store: Store, config: Config, period: Period, now: datetime, first: Period | None, closing: dict[str, Any] | None
) -> MonthState:
    settled_at = closing_times_settled_at(config.schedule, period)
    if closing is not None:
        return MonthState(
            month=period,
            state="closed",
            closable_from=settled_at,
            closed_at=closing["closed_at"],
            closed_by=closing["closed_by"],
            waiting=store.query("invoicing/pending_customers", month=month_name(period)).height,
        )
    by_hand = _by_hand(store, config, period, now, first)
    blocked_by = _blocked_by(store, config, period, now, first) if now >= settled_at else ()
    return MonthState(
        month=period,
        state="open" if now < settled_at else "blocked" if blocked_by else "closable",
        closable_from=settled_at,
        closes_at=None if by_hand else closes_from(config.schedule, period),
        by_hand=by_hand,
        blocked_by=tuple(blocked_by),
    )


def _blocked_by(
    store: Store, config: Config, period: Period, now: datetime, first: Period | None
) -> tuple[Reason, ...]:
    """What stops a close by command; not computed for old months that were never closed, which would take long."""
    if period != previous_month(now) and not may_close_by_itself(first, period):
        return ()
    month = Month(recorded=Recorded(store=store), terms=terms.of(config), period=period, now=now)
    return tuple(readiness.costed(month, readiness.reasons(month, config)))


def _by_hand(store: Store, config: Config, period: Period, now: datetime, first: Period | None) -> str | None:
    """Why the month does not close by itself; None if it does."""
    if config.schedule.close_day == 0:
        return "schedule.close_day is 0"
    if not may_close_by_itself(first, period):
        if config.schedule.first_month is not None:
            return f"schedule.first_month is {config.schedule.first_month}"
        return "it began before the first complete poll of this store" if first else "no poll was complete yet"
    if period.end < previous_month(now).end:
        return "a later month has ended since"
    return None if readiness.is_typed(store) else "the first close of this store is typed by a person"


def coming(store: Store, config: Config, now: datetime) -> list[str]:
    """For `check`: the month that closes next by itself and what it lacks, and the months that wait for a person."""
    found = states(store, config, now)
    out = [
        told(state.document())
        for state in found
        if state.closed_at is None and state.month == previous_month(now) and state.state != "open"
    ]
    return [*out, *_next_by_itself(store, config, now)]


FORESEEN = {"seller", "example_plan", "unknown_plan", "unassigned", "alarm", blockers.BY_ITSELF}
"""Reasons that can be told before a month is over."""


def _next_by_itself(store: Store, config: Config, now: datetime) -> Iterator[str]:
    """The next month that closes by itself, and what would stop it according to the running month."""
    first = first_month(store, config.schedule)
    if config.schedule.close_day == 0:
        yield "no month closes by itself: schedule.close_day is 0"
        return
    if first is None:
        yield "no month closes by itself yet: the first one is the first that begins after the first complete poll"
        return
    closed = set(store.query("invoicing/closed_months")["month"])
    month = max(first, previous_month(now), key=lambda one: one.start)
    while month_name(month) in closed:
        month = month_of(month.end)
    at = rfc3339(closes_from(config.schedule, month))
    running = Month(
        recorded=Recorded(store=store), terms=terms.of(config), period=min(month, month_of(now), key=_start), now=now
    )
    missing = [row for row in readiness.reasons(running, config, is_by_itself=True) if row.kind in FORESEEN]
    yield f"{month_name(month)} closes by itself from {at}" + (", once nothing is missing:" if missing else "")
    for reason in readiness.costed(running, missing):
        yield f"missing for {month_name(month)}: {reason.sentence}: {reason.way_out}"


def _start(month: Period) -> datetime:
    return month.start
