"""Closing a month: rate, number and freeze its invoices in one journal record; running it again changes nothing.

A closing that would have to guess, or would leave out what somebody should be billed for, is refused with all reasons
(BlockedError; readiness.py knows them). A customer whose invoice would be wrong is parked with the reason, while the
others close.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from metering.billing import terms as terms_of_month
from metering.billing.month import LATEST, Month
from metering.config.models import Config
from metering.core.errors import IncompleteError, MeteringError
from metering.core.period import Period, month_name, previous_month, rfc3339
from metering.invoicing import alarms, blockers, corrections, holds, paper, readiness, unbilled
from metering.invoicing.blockers import NO_WAIVERS, Reason, Waivers
from metering.invoicing.closing import Closing, by_customer, closing_of, given, pending_customers
from metering.invoicing.corrections import Corrections
from metering.invoicing.drafts import currency_conflicts, draft_invoices, tax_conflicts
from metering.invoicing.holds import Issued, Unknown
from metering.invoicing.issued import Json, issued_in, stands, written
from metering.invoicing.supplement import Supplement, supplements
from metering.ledger.ledger import Ledger
from metering.store.database import Store

NOBODY: Mapping[str, str] = {}


class BlockedError(IncompleteError):
    """A close is refused; `reasons` are all that stops it."""

    def __init__(self, month: Period, reasons: Sequence[Reason]) -> None:
        super().__init__(blockers.told(month, reasons))
        self.reasons = reasons


@dataclass(frozen=True, kw_only=True)
class _Decision:
    """What a closing of the month would do, each part computed when it is first asked for.

    `pending`: customers that the month is not closed for; None (all) before its first closing.
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
        """What stops it, with costs."""
        found = readiness.reasons(
            self.month,
            self.config,
            self.waivers,
            is_by_itself=self.is_by_itself,
            is_closed=self.pending is not None,
        )
        return readiness.costed(self.month, found)

    @cached_property
    def drafts_and_parked(self) -> tuple[list[Json], dict[str, str]]:
        """The drafts to issue, and who waits with the reason."""
        due = corrections.due(self.month)
        drafts = draft_invoices(self.month, due.lines, due.currencies, due.billed)
        drafts = [draft for draft in drafts if self.pending is None or draft["customer"]["id"] in self.pending]
        parked = _to_park(self.month, drafts, due, self.pending, self.release)
        return [draft for draft in drafts if draft["customer"]["id"] not in parked], parked


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
    """Closes the month for every customer that it is not yet closed for.

    `release` closes it for these parked customers only, and says why; `is_by_itself`: nobody typed it. Raises
    BlockedError where something stops it, MeteringError where nobody of that name is parked.
    """
    seq = ledger.journal.seq
    decision = _decide(ledger.store, config, period, now, seq, waivers, release, is_by_itself=is_by_itself)
    month, pending = decision.month, decision.pending
    if decision.is_done:
        return closing_of(month)
    if decision.reasons:
        raise BlockedError(period, decision.reasons)
    drafts, parked = decision.drafts_and_parked
    if pending is not None and not drafts and _is_as_parked(month, pending, parked):
        return closing_of(month)
    numbers = _record(ledger, decision)
    return replace(closing_of(month, numbers), is_new=True)


def supplement(
    ledger: Ledger, config: Config, period: Period, now: datetime, *, waivers: Waivers = NO_WAIVERS
) -> Closing:
    """Bills what a closed month left to nobody and that has a customer now, in invoices of their own.

    Raises MeteringError where the month is not closed, was closed under older rules, or a customer's supplement cannot
    be issued. What is billed is not billed again: running it twice changes nothing. `waivers` are recorded with what is
    issued, for what it leaves out once more.
    """
    found = _supplements(ledger.store, config, period, now, ledger.journal.seq)
    numbers = [number for one in found for number in _record_supplement(ledger, config, one, waivers)]
    return replace(closing_of(_today(ledger.store, config, period, now), numbers), is_new=bool(numbers))


def rehearse_supplement(store: Store, config: Config, period: Period, now: datetime) -> Closing:
    """What `supplement` would issue; writes nothing."""
    found = _supplements(store, config, period, now, LATEST)
    stored = closing_of(_today(store, config, period, now))
    drafts = [draft for one in found for draft in one.drafts]
    return replace(stored, invoices=sorted([*stored.invoices, *drafts], key=by_customer))


def _today(store: Store, config: Config, period: Period, now: datetime) -> Month:
    return Month(store=store, terms=terms_of_month.of(config), period=period, now=now)


def _supplements(store: Store, config: Config, period: Period, now: datetime, seq: int) -> list[Supplement]:
    """Those that have anything to bill; raises MeteringError with every customer whose cannot be issued."""
    found = supplements(store, config, period, now, seq)
    conflicts = {customer: why for one in found for customer, why in one.conflicts().items()}
    if conflicts:
        said = "; ".join(f"{customer}: {why}" for customer, why in sorted(conflicts.items()))
        hint = "correct their rows, or void what they were billed and close the month anew for them"
        raise MeteringError(f"no supplement of {month_name(period)} was issued: {said}", hint=hint)
    return [one for one in found if one.drafts]


def _record_supplement(ledger: Ledger, config: Config, found: Supplement, waivers: Waivers) -> list[str]:
    """Numbers its drafts and journals it as a closing that goes on from another; returns the numbers."""
    month, base, drafts = found.month, found.closing.base, [*found.drafts]
    assert base is not None, "a supplement has a base"
    return _journal(
        ledger,
        config,
        month,
        drafts,
        facts={"supplements": base.seq, "gained": list(found.closing.gained)},
        said={"parked": {}, "settled": [], "released": {}, **_said(waivers, is_by_itself=False)},
    )


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
    """What a closing would do, and why it would be refused; writes nothing, so any copy of the store will do."""
    decision = _decide(store, config, period, now, as_of_seq, waivers, release)
    return closing_of(decision.month) if decision.is_done else _rehearsed(decision)


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
    month = Month(store=store, terms=terms_of_month.of(config), period=period, now=now, as_of_seq=seq)
    return _Decision(
        month=month,
        config=config,
        waivers=given(store, period, waivers),
        release=release,
        pending=_released(month, release) if release else pending_customers(store, month),
        is_by_itself=is_by_itself,
    )


def _record(ledger: Ledger, decision: _Decision) -> list[str]:
    """Numbers the drafts and journals the closing."""
    drafts, parked = decision.drafts_and_parked
    settled = sorted(({draft["customer"]["id"] for draft in drafts} | (decision.pending or set())) - parked.keys())
    said = {
        "parked": parked,
        "settled": settled,
        "released": dict(decision.release),
        **_said(decision.waivers, is_by_itself=decision.is_by_itself),
    }
    return _journal(ledger, decision.config, decision.month, drafts, facts={}, said=said)


def _said(waivers: Waivers, *, is_by_itself: bool) -> Json:
    """By whom a closing is, and by whose leave."""
    return {
        "allow_incomplete": waivers.incomplete,
        "allow_unassigned": waivers.unassigned,
        "closed_by": "tick" if is_by_itself else "typed",
    }


def _journal(  # noqa: PLR0913 - what a record is made of
    ledger: Ledger, config: Config, month: Month, drafts: list[Json], *, facts: Json, said: Json
) -> list[str]:
    """Numbers the drafts, uses them up, and journals a closing with all that it takes to rate it again.

    `facts` stand in its body alone, `said` in its head too.
    """
    series, positions = _numbers(ledger.store, config, drafts, month.now)
    numbers = [draft["number"] for draft in drafts]
    known = {"coverage": month.coverage_json(), "unassigned": month.unassigned, "unpriced": month.unpriced}
    facts = {**known, **said, **facts, "not_billed": unbilled.not_billed(month)}
    facts["gone_unseen"] = str(len(month.gone_unseen))
    told = {"terms": terms_of_month.document(month.terms), "paper": paper.frozen(config)}
    head = written({**told, "facts": facts, "invoices": []})
    drafts.reverse()  # a draft is many times as large as its text, and goes as soon as that is there
    texts = [written(drafts.pop()) for _ in numbers]
    ledger.record(
        "close",
        {
            "month": month_name(month.period),
            "as_of": rfc3339(month.now),
            "as_of_seq": month.as_of_seq,
            "terms_sha256": month.terms_sha256,
            "rules": terms_of_month.RULES,
            **said,
            "series": series,
            "positions": positions,
        },
        body=b"".join([head.removesuffix(b"]}"), b",".join(texts), b"]}"]),
    )
    return numbers


def _rehearsed(decision: _Decision) -> Closing:
    """What a closing would do, beside the month before."""
    month = decision.month
    drafts, parked = decision.drafts_and_parked
    would_be = sorted([*closing_of(month).invoices, *drafts], key=by_customer)
    before = issued_in(month.store, previous_month(month.period.start))
    return Closing(
        month=month.period,
        invoices=would_be,
        issued=[],
        parked=parked,
        unassigned=month.unassigned,
        unpriced=month.unpriced,
        not_billed=unbilled.not_billed(month),
        gone_unseen=len(month.gone_unseen),
        waivers=decision.waivers,
        differences=holds.differences([row for row in would_be if stands(row)], [row for row in before if stands(row)]),
        blocked_by=decision.reasons,
    )


def _released(month: Month, release: Mapping[str, str]) -> set[str]:
    """The customers to release; each must be parked."""
    parked = set(month.store.query("invoicing/parked", month=month_name(month.period))["customer"])
    for customer in sorted(set(release) - parked):
        raise MeteringError(
            f"{customer} is not parked in {month_name(month.period)}",
            hint=f"parked: {', '.join(sorted(parked)) or 'nobody'}; `metering invoices MONTH` shows why",
        )
    return set(release)


def _to_park(
    month: Month, drafts: list[Json], due: Corrections, pending: set[str] | None, release: Mapping[str, str]
) -> dict[str, str]:
    """Customers whose invoice would be wrong, with the reason; raises MeteringError where a release cannot be."""
    name = month_name(month.period)
    conflicts = {**tax_conflicts(month, drafts), **currency_conflicts(month, due.currencies), **due.conflicts}
    for customer in sorted(release.keys() & conflicts.keys()):
        raise MeteringError(f"{customer} cannot be released: {conflicts[customer]}", hint="correct the configuration")
    earlier = month.store.query("invoicing/usual_totals", month=name, most=holds.MOST_HISTORY)
    history = [Issued(**row) for row in earlier.iter_rows(named=True)]
    settled = alarms.acknowledged_metrics(month.store)
    unknown = [Unknown(**row) for row in month.without_meter if row["metric"] not in settled]
    found = holds.reasons(drafts, history, unknown, conflicts)
    return {
        customer: reason
        for customer, reason in found.items()
        if (pending is None or customer in pending) and customer not in release
    }


def _is_as_parked(month: Month, pending: set[str], parked: dict[str, str]) -> bool:
    """Whether the customers that wait are parked for these reasons already."""
    known = dict(month.store.query("invoicing/parked", month=month_name(month.period)).iter_rows())
    return {customer: known[customer] for customer in pending & known.keys()} == parked


def _numbers(store: Store, config: Config, drafts: Collection[Json], now: datetime) -> tuple[str, list[int]]:
    """Turns drafts into final invoices, in place, numbered on from the last of the year's series."""
    series = f"invoice {now:%Y}"
    last = int(store.query("invoicing/last_position", series=series).item())
    due_at = rfc3339(now + timedelta(days=config.invoices.due_days))
    positions = list(range(last + 1, last + 1 + len(drafts)))
    for position, draft in zip(positions, drafts, strict=True):
        draft["number"] = config.invoices.number.format(year=now.year, number=position)
        draft["status"] = "final"
        draft["issued_at"], draft["due_at"] = rfc3339(now), due_at
    return series, positions
