"""The state of a month's closing: documents, customers on hold, what was left out and who allowed it.

Shows drafts for customers for whom the month is not closed. Reads the store, writes nothing; must not decide a closing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import polars as pl

from metering.billing.month import Month
from metering.core.invoice import Invoice, Printed
from metering.core.period import Period, month_name, rfc3339
from metering.invoicing.amending import corrections
from metering.invoicing.blockers import NO_WAIVERS, Reason, Waivers
from metering.invoicing.drafts import currency_conflicts, draft_invoices, tax_conflicts
from metering.invoicing.issued import Document, as_document, issued_in
from metering.invoicing.unbilled_sums import NotBilled
from metering.store.database import Store


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What a closing did, or would do. `invoices` are all documents of the month; `issued` are the new numbers.

    `waivers`: reasons that a person gave for closing in spite of gaps; `is_new`: whether anything changed;
    `gone_unseen` counts projects that were billed under their own ids because they were deleted before any list showed
    them. A dry run also has `differences` (totals beside those of the month before) and `blocked_by`.
    """

    month: Period
    invoices: Sequence[Document]
    issued: list[str]
    parked: dict[str, str]
    unassigned: Sequence[Mapping[str, object]]
    unpriced: Sequence[Mapping[str, object]]
    not_billed: Sequence[NotBilled] = field(default_factory=list)
    gone_unseen: int = 0
    waivers: Waivers = NO_WAIVERS
    is_new: bool = False
    differences: Sequence[Mapping[str, object]] = field(default_factory=list)
    blocked_by: list[Reason] = field(default_factory=list)


def given(store: Store, period: Period, waivers: Waivers = NO_WAIVERS) -> Waivers:
    """The waivers given now; for those not given, the latest of the month's closings."""
    return _given(store.query("invoicing/closing_facts", month=month_name(period)), waivers)


def _given(facts: pl.DataFrame, waivers: Waivers = NO_WAIVERS) -> Waivers:
    for row in reversed(facts.to_dicts()):
        waivers = Waivers(
            incomplete=waivers.incomplete or row["allow_incomplete"],
            unassigned=waivers.unassigned or json.loads(row["document"]).get("allow_unassigned"),
        )
    return waivers


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthInvoices:
    """What `invoices MONTH` prints: documents by customer and number; `parked`: customer -> reason."""

    period: Period
    documents: Sequence[Document]
    unassigned: Sequence[Mapping[str, object]]
    unpriced: Sequence[Mapping[str, object]]
    parked: Mapping[str, str]

    def printed(self) -> Printed:
        """The JSON object."""
        return {
            "period": {"start": rfc3339(self.period.start), "end": rfc3339(self.period.end)},
            "invoices": [document.printed() for document in self.documents],
            "unassigned": self.unassigned,
            "unpriced": self.unpriced,
            "parked": [{"customer": name, "reason": reason} for name, reason in sorted(self.parked.items())],
        }


def month_invoices(month: Month) -> MonthInvoices:
    """The final documents of a closed month, drafts of one that is not; `month` is by today's terms."""
    period, store = month.period, month.recorded.store
    waiting = pending_customers(store, period)
    drafts: list[Invoice] = []
    parked: Mapping[str, str] = {}
    if waiting is None or waiting:
        due = corrections.shown(month)
        drafts = draft_invoices(month, due.lines, due.currencies, due.billed)
        parked = {**tax_conflicts(month, drafts), **currency_conflicts(month, due.currencies), **due.conflicts}
    if waiting is None:
        return MonthInvoices(
            period=period,
            documents=[as_document(draft) for draft in drafts],
            unassigned=month.unbilled.unassigned,
            unpriced=month.unbilled.unpriced,
            parked=parked,
        )
    closing = closing_of(store, period)
    return MonthInvoices(
        period=period,
        documents=with_drafts(closing.invoices, (one for one in drafts if one.customer.id in waiting)),
        unassigned=closing.unassigned,
        unpriced=closing.unpriced,
        parked=closing.parked,
    )


def with_drafts(issued: Iterable[Document], drafts: Iterable[Invoice]) -> list[Document]:
    """Issued documents and drafts, by customer and number."""
    return sorted([*issued, *map(as_document, drafts)], key=_by_customer)


def _by_customer(document: Document) -> tuple[str, str]:
    found = document.invoice
    return found.customer.id, found.number or ""


def closing_of(store: Store, period: Period, issued: list[str] | None = None) -> Closing:
    """The closing of the month as the store has it; `issued` are the new numbers."""
    name = month_name(period)
    facts = store.query("invoicing/closing_facts", month=name)
    known = json.loads(facts["document"][-1]) if facts.height else {"unassigned": [], "unpriced": []}
    return Closing(
        month=period,
        invoices=issued_in(store, period),
        issued=issued or [],
        parked=dict(store.query("invoicing/parked", month=name).iter_rows()),
        unassigned=known["unassigned"],
        unpriced=known["unpriced"],
        not_billed=msgspec.convert(known.get("not_billed", []), list[NotBilled]),
        gone_unseen=int(known.get("gone_unseen", 0)),
        waivers=_given(facts),
    )


def pending_customers(store: Store, period: Period) -> set[str] | None:
    """Customers for whom the month is not closed: on hold or voided; None (all) before the first closing."""
    name = month_name(period)
    if store.query("invoicing/closing_facts", month=name).is_empty():
        return None
    return set(store.query("invoicing/pending_customers", month=name)["customer"])
