"""How a closing is frozen: its documents numbered, and journalled with all that it takes to rate them again.

The only writer of closings. Must not know what is issued, nor why.
"""

import json
from datetime import timedelta

from msgspec.structs import replace

from metering.billing import terms as terms_of_month
from metering.billing.month import Month
from metering.config import Config
from metering.core.invoice import Invoice, Printed, encoded
from metering.core.period import month_name, rfc3339
from metering.invoicing import unbilled
from metering.invoicing.blockers import Waivers
from metering.invoicing.printed import paper
from metering.ledger.ledger import Ledger


def said_of(waivers: Waivers, *, is_by_itself: bool) -> Printed:
    """By whom a closing is, and by whose leave."""
    return {
        "allow_incomplete": waivers.incomplete,
        "allow_unassigned": waivers.unassigned,
        "closed_by": "tick" if is_by_itself else "typed",
    }


def freeze(  # noqa: PLR0913 - what a record is made of
    ledger: Ledger, config: Config, month: Month, drafts: list[Invoice], *, facts: Printed, said: Printed
) -> list[str]:
    """Numbers the drafts, uses them up, and journals a closing with all that it takes to rate it again.

    `facts` stand in its body alone, `said` in its head too.
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
    facts = {**known, **said, **facts, "not_billed": unbilled.not_billed(month)}
    facts["gone_unseen"] = str(len(month.projects.gone_unseen))
    told = {"terms": terms_of_month.document(month.terms), "paper": paper.frozen(config)}
    head = json.dumps({**told, "facts": facts, "invoices": []}, ensure_ascii=False, separators=(",", ":")).encode()
    issued_at, due_at = month.now, month.now + timedelta(days=config.invoices.due_days)
    issue = {"status": "final", "issued_at": rfc3339(issued_at), "due_at": rfc3339(due_at)}
    drafts.reverse()  # a draft is many times as large as its text, and goes as soon as that is there
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
