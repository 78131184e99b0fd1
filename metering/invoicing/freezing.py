"""How a closing is frozen: its documents numbered, and journalled with all that it takes to rate them again.

The only writer of closings. Must not know what is issued, nor why.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from metering.billing import terms as terms_of_month
from metering.billing.month import Month
from metering.config import Config
from metering.core.invoice import Printed
from metering.core.period import month_name, rfc3339
from metering.invoicing import unbilled
from metering.invoicing.blockers import Waivers
from metering.invoicing.issued import Json, written
from metering.invoicing.printed import paper
from metering.ledger.ledger import Ledger
from metering.store.database import Store


def said_of(waivers: Waivers, *, is_by_itself: bool) -> Printed:
    """By whom a closing is, and by whose leave."""
    return {
        "allow_incomplete": waivers.incomplete,
        "allow_unassigned": waivers.unassigned,
        "closed_by": "tick" if is_by_itself else "typed",
    }


def freeze(  # noqa: PLR0913 - what a record is made of
    ledger: Ledger, config: Config, month: Month, drafts: list[Json], *, facts: Json, said: Json
) -> list[str]:
    """Numbers the drafts, uses them up, and journals a closing with all that it takes to rate it again.

    `facts` stand in its body alone, `said` in its head too.
    """
    series, positions = _numbers(ledger.store, config, drafts, month.now)
    numbers = [draft["number"] for draft in drafts]
    known = {
        "coverage": month.coverage.document(),
        "unassigned": month.unbilled.unassigned,
        "unpriced": month.unbilled.unpriced,
    }
    facts = {**known, **said, **facts, "not_billed": unbilled.not_billed(month)}
    facts["gone_unseen"] = str(len(month.projects.gone_unseen))
    told = {"terms": terms_of_month.document(month.terms), "paper": paper.frozen(config)}
    head = written({**told, "facts": facts, "invoices": []})
    drafts.reverse()  # a draft is many times as large as its text, and goes as soon as that is there
    texts = [written(drafts.pop()) for _ in numbers]
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
