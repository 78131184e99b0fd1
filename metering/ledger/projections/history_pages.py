"""Parses pages of history as the store can hold them; a faulty page shows nothing. Writes nothing.

Knows which of Neon's two endpoints a record is from. Must not know what the store holds already.
"""

from dataclasses import dataclass, field, replace
from functools import partial

from metering.core.errors import PageRefusedError
from metering.core.meters import KNOWN_METRICS, PREFIX
from metering.ledger.projections.pages import PageRow, page_row
from metering.neon import legacy, parse_history, readable, wire
from metering.neon.readable import Unreadable
from metering.store.record import Record

STORED_LIMIT = 10**38
"""A value of 39 digits may fit 128 bits, but not the decimal in which numbers are passed to the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPage:
    """A parsed page; a faulty one shows nothing. `row` is its row of the page ledger."""

    record: Record
    row: PageRow
    projects: tuple[str, ...] = ()
    periods: tuple[parse_history.NeonPeriod, ...] = ()
    buckets: parse_history.Buckets = field(default_factory=parse_history.Buckets)
    unreadable: tuple[Unreadable, ...] = ()
    cursor: str | None = None

    def asked(self) -> list[str]:
        """The projects that were asked for by id and could be read; empty if all projects were asked for."""
        named = self.record.data["params"].get("project_ids", "") if self.row.fault is None else ""
        unreadable = {row.project_id for row in self.unreadable}
        return [name for name in named.split(",") if name not in unreadable] if named else []


def read_page(record: Record) -> ReadPage:
    """Parses a page of history; a faulty one is a page without projects."""
    body, unreadable = record.body, list[Unreadable]()
    parse = partial(_parsed, grain=record.data["grain"], is_legacy=record.data["path"] == legacy.PATH)
    try:
        if record.data.get("by_rows"):
            page, unreadable = readable.by_rows(body, parse)
        else:
            page = parse(body)
    except (PageRefusedError, OverflowError) as error:
        faulty = page_row(record, body, items=0, fault=str(error))
        return ReadPage(record=record, row=faulty, cursor=_cursor_of(record, body))
    buckets = page.buckets
    row = page_row(record, body, items=len(page.projects), fault=None)
    return ReadPage(
        record=record,
        row=replace(row, metrics=sorted(_reported(buckets)), grains=sorted(set(buckets.grain))),
        projects=page.projects,
        periods=page.periods,
        buckets=buckets,
        unreadable=tuple(unreadable),
        cursor=page.cursor if page.projects or unreadable else None,
    )


def _parsed(body: bytes, *, grain: int, is_legacy: bool) -> parse_history.HistoryPage:
    """A history page that the store can hold; raises PageRefusedError, OverflowError."""
    page = parse_history.history(legacy.retold(body) if is_legacy else body, grain)
    if not is_legacy and any(metric.startswith(PREFIX) for metric in page.buckets.metrics):
        raise PageRefusedError(f"a metric is called {PREFIX}…, which is what we call those of legacy plans")
    if any(value >= STORED_LIMIT for _, _, value in page.buckets.others):
        raise PageRefusedError("a value has more than 38 digits")
    return page


def _reported(buckets: parse_history.Buckets) -> set[str]:
    """The metrics that have a value on the page: null is "not reported"."""
    columns = zip(KNOWN_METRICS, buckets.values, strict=True)
    known = {metric for metric, column in columns if any(value is not None for value in column)}
    return known | {metric for _, metric, _ in buckets.others}


def _cursor_of(record: Record, body: bytes) -> str | None:
    """The cursor of a resumable read on a page whose rows cannot be read; None on the last page."""
    if not record.data.get("is_sweep"):
        return None
    read = readable.envelope if record.data.get("by_rows") else wire.envelope
    try:
        page = read(body)
    except PageRefusedError:
        return None
    return page.cursor if page.items else None
