"""Closing a month: rate, number and freeze its invoices in one journal record; running it again changes nothing.

A closing that would have to guess, or would leave usage unbilled, is refused with all reasons (BlockedError;
readiness.py knows them). A customer whose invoice would be wrong is put on hold (`parked`) with the reason, while the
others close.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from metering.billing import terms as terms_of_month
from metering.billing.month import Month
from metering.billing.recorded import LATEST, Recorded
from metering.config import Config
from metering.core.errors import IncompleteError, MeteringError
from metering.core.invoice import Invoice
from metering.core.period import Period, month_name, previous_month
from metering.invoicing import alarms, blockers, holds, readiness, unbilled
from metering.invoicing.amending import corrections
from metering.invoicing.amending.corrections import Corrections
from metering.invoicing.blockers import NO_WAIVERS, Reason, Waivers
from metering.invoicing.closing import Closing, closing_of, given, pending_customers, with_drafts
from metering.invoicing.drafts import currency_conflicts, draft_invoices, tax_conflicts
from metering.invoicing.freezing import freeze, said_of
from metering.invoicing.holds import Amount, Unknown
from metering.invoicing.issued import issued_in, standing
from metering.ledger.ledger import Ledger
from metering.store.database import Store

NOBODY: Mapping[str, str] = {}


class BlockedError(IncompleteError):
    """A close is refused; `reasons` lists everything that prevents it."""

    def __init__(self, month: Period, reasons: Sequence[Reason]) -> None:
        super().__init__(blockers.told(month, reasons))
        self.reasons = reasons


@dataclass(frozen=True, kw_only=True)
class _Decision:
    """What a closing of the month would do; each part is computed when it is first used.

    `pending`: customers for whom the month is not closed; None (all) before its first closing.
    """

    month: Month
    config: Config
    waivers: Waivers
    release: Mapping[str, str]
    pending: set[str] | None
    is_by_itself: bool = False

    @property
    def is_done(self) -> bool:
        """Whether the month is closed for everybody."""
        return self.pending is not None and not self.pending

    @cached_property
    def reasons(self) -> list[Reason]:
        """Everything that prevents the closing, with Neon's costs."""
        found = readiness.reasons(
            self.month,
            self.config,
            self.waivers,
            is_by_itself=self.is_by_itself,
            is_closed=self.pending is not None,
        )
        return readiness.costed(self.month, found)

    @cached_property
    def drafts_and_parked(self) -> tuple[list[Invoice], dict[str, str]]:
        """The drafts to issue; and the customers on hold, each with the reason."""
        due = corrections.due(self.month)
        drafts = draft_invoices(self.month, due.lines, due.currencies, due.billed)
        drafts = [draft for draft in drafts if self.pending is None or draft.customer.id in self.pending]
        parked = _to_park(self.month, drafts, due, self.pending, self.release)
        return [draft for draft in drafts if draft.customer.id not in parked], parked


def close(  # noqa: PLR0913 - what may be waived is said one by one
    ledger: Ledger,
    config: Config,
    period: Period,
    now: datetime,
    *,
    waivers: Waivers = NO_WAIVERS,
    release: Mapping[str, str] = NOBODY,
    is_by_itself: bool = False,
) -> Closing:
    """Closes the month for every customer for whom it is not yet closed.

    `release` limits the closing to customers on hold, each with a reason; `is_by_itself`: no person typed the command.
    Raises BlockedError if something prevents the closing, MeteringError if a released customer is not on hold.
    """
    seq = ledger.journal.seq
    decision = _decide(ledger.store, config, period, now, seq, waivers, release, is_by_itself=is_by_itself)
    month, pending = decision.month, decision.pending
    if decision.is_done:
        return closing_of(ledger.store, period)
    if decision.reasons:
        raise BlockedError(period, decision.reasons)
    drafts, parked = decision.drafts_and_parked
    if pending is not None and not drafts and _is_as_parked(month, pending, parked):
        return closing_of(ledger.store, period)
    numbers = _record(ledger, decision)
    return replace(closing_of(ledger.store, period, numbers), is_new=True)


def rehearse(  # noqa: PLR0913 - the same choices as of a closing
    store: Store,
    config: Config,
    period: Period,
    now: datetime,
    *,
    waivers: Waivers = NO_WAIVERS,
    release: Mapping[str, str] = NOBODY,
    as_of_seq: int = LATEST,
) -> Closing:
    """A dry run: what a closing would do, or why it is refused. Writes nothing, so any copy of the store will do."""
    decision = _decide(store, config, period, now, as_of_seq, waivers, release)
    return closing_of(store, period) if decision.is_done else _rehearsed(decision)


def _decide(  # noqa: PLR0913, PLR0917 - what a closing is of
    store: Store,
    config: Config,
    period: Period,
    now: datetime,
    seq: int,
    waivers: Waivers,
    release: Mapping[str, str],
    *,
    is_by_itself: bool = False,
) -> _Decision:
    month = Month(
        recorded=Recorded(store=store, as_of_seq=seq), terms=terms_of_month.of(config), period=period, now=now
    )
    return _Decision(
        month=month,
        config=config,
        waivers=given(store, period, waivers),
        release=release,
        pending=_released(month, release) if release else pending_customers(store, period),
        is_by_itself=is_by_itself,
    )


def _record(ledger: Ledger, decision: _Decision) -> list[str]:
    """Numbers the drafts and journals the closing."""
    drafts, parked = decision.drafts_and_parked
    settled = sorted(({draft.customer.id for draft in drafts} | (decision.pending or set())) - parked.keys())
    said = {
        "parked": parked,
        "settled": settled,
        "released": dict(decision.release),
        **said_of(decision.waivers, is_by_itself=decision.is_by_itself),
    }
    return freeze(ledger, decision.config, decision.month, drafts, facts={}, said=said)


def _rehearsed(decision: _Decision) -> Closing:
    """What a closing would do, beside the month before."""
    month = decision.month
    drafts, parked = decision.drafts_and_parked
    would_be = with_drafts(issued_in(month.recorded.store, month.period), drafts)
    before = issued_in(month.recorded.store, previous_month(month.period.start))
    return Closing(
        month=month.period,
        invoices=would_be,
        issued=[],
        parked=parked,
        unassigned=month.unbilled.unassigned,
        unpriced=month.unbilled.unpriced,
        not_billed=unbilled.not_billed(month),
        gone_unseen=len(month.projects.gone_unseen),
        waivers=decision.waivers,
        differences=holds.differences(standing(would_be), standing(before)),
        blocked_by=decision.reasons,
    )


def _released(month: Month, release: Mapping[str, str]) -> set[str]:
    """The customers to release. Raises MeteringError if one is not on hold."""
    parked = set(month.recorded.store.query("invoicing/parked", month=month_name(month.period))["customer"])
    for customer in sorted(set(release) - parked):
        raise MeteringError(
            f"{customer} is not parked in {month_name(month.period)}",
            hint=f"parked: {', '.join(sorted(parked)) or 'nobody'}; `metering invoices MONTH` shows why",
        )
    return set(release)


def _to_park(
    month: Month, drafts: list[Invoice], due: Corrections, pending: set[str] | None, release: Mapping[str, str]
) -> dict[str, str]:
    """Customers to put on hold, with the reason. Raises MeteringError if a released customer has a conflict."""
    name = month_name(month.period)
    conflicts = {**tax_conflicts(month, drafts), **currency_conflicts(month, due.currencies), **due.conflicts}
    for customer in sorted(release.keys() & conflicts.keys()):
        raise MeteringError(f"{customer} cannot be released: {conflicts[customer]}", hint="correct the configuration")
    earlier = month.recorded.store.query("invoicing/usual_totals", month=name, most=holds.MOST_HISTORY)
    history = [Amount(**row) for row in earlier.iter_rows(named=True)]
    settled = alarms.acknowledged_metrics(month.recorded.store)
    unknown = [Unknown(**row) for row in month.unbilled.without_meter if row["metric"] not in settled]
    amounts = (Amount(customer=draft.customer.id, currency=draft.currency, total=draft.total) for draft in drafts)
    found = holds.reasons(amounts, history, unknown, conflicts)
    return {
        customer: reason
        for customer, reason in found.items()
        if (pending is None or customer in pending) and customer not in release
    }


def _is_as_parked(month: Month, pending: set[str], parked: dict[str, str]) -> bool:
    """Whether the pending customers are already on hold for these reasons."""
    known = dict(month.recorded.store.query("invoicing/parked", month=month_name(month.period)).iter_rows())
    return {customer: known[customer] for customer in pending & known.keys()} == parked
