"""Freezes a closing: numbers its documents and journals them with everything that is needed to rate them again.

The only writer of closings. Must not decide what is issued.
"""

import json
from datetime import timedelta

from msgspec.structs import replace

from metering.billing import terms as terms_of_month
from metering.billing.month import Month
from metering.config import Config
from metering.core.invoice import Invoice, Printed, encoded, printed
from metering.core.period import month_name, rfc3339
from metering.invoicing import unbilled
from metering.invoicing.blockers import Waivers
from metering.invoicing.printed import paper
from metering.ledger.ledger import Ledger


def said_of(waivers: Waivers, *, is_by_itself: bool) -> Printed:
    """The facts of a record that state who closed, and with which waivers."""
    return {
        "allow_incomplete": waivers.incomplete,
        "allow_unassigned": waivers.unassigned,
        "closed_by": "tick" if is_by_itself else "typed",
    }


def freeze(  # noqa: PLR0913 - what a record is made of
    ledger: Ledger, config: Config, month: Month, drafts: list[Invoice], *, facts: Printed, said: Printed
) -> list[str]:
    """Numbers the drafts and journals them; returns the numbers. The list of drafts is empty afterwards.

    `facts` are written to the record's body, `said` to its body and its head.
    """
    series = f"invoice {month.now:%Y}"
    first = int(ledger.store.query("invoicing/last_position", series=series).item()) + 1
    positions = list(range(first, first + len(drafts)))
    numbers = [config.invoices.number.format(year=month.now.year, number=position) for position in positions]
    known = {
        "coverage": month.coverage.document(),
        "unassigned": month.unbilled.unassigned,
        "unpriced": month.unbilled.unpriced,
    }
    facts = {**known, **said, **facts, "not_billed": [printed(row) for row in unbilled.not_billed(month)]}
    facts["gone_unseen"] = str(len(month.projects.gone_unseen))
    told = {"terms": terms_of_month.document(month.terms), "paper": paper.frozen(config)}
    head = json.dumps({**told, "facts": facts, "invoices": []}, ensure_ascii=False, separators=(",", ":")).encode()
    issued_at, due_at = month.now, month.now + timedelta(days=config.invoices.due_days)
    issue = {"status": "final", "issued_at": rfc3339(issued_at), "due_at": rfc3339(due_at)}
    drafts.reverse()  # a draft needs many times the memory of its text: it is dropped as soon as it is encoded
    texts = [encoded(replace(drafts.pop(), number=number, **issue)) for number in numbers]
    ledger.record(
        "close",
        {
            "month": month_name(month.period),
            "as_of": rfc3339(month.now),
            "as_of_seq": month.recorded.as_of_seq,
            "terms_sha256": month.terms.sha256,
            "rules": terms_of_month.RULES,
            **said,
            "series": series,
            "positions": positions,
        },
        body=b"".join([head.removesuffix(b"]}"), b",".join(texts), b"]}"]),
    )
    return numbers
