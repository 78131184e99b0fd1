"""One answer of Neon's API, as it was received."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from metering.core.errors import JournalDamagedError
from metering.store import journal
from metering.store.journal import JOURNAL
from metering.web import persons
from metering.web.desk import Desk, Page
from metering.web.view import NotFoundError

LONGEST_PAGE = 200_000
"""The most characters of a raw answer on the page; the download has all."""


def raw_page(desk: Desk, request: Request) -> Response:
    """The raw answer, read from the journal: the snapshot does not contain it."""
    view, text = desk.view(request), request.query_params.get("seq", "")
    seq = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    record = next(journal.read(view.config.store.directory / JOURNAL, after=seq - 1), None) if seq else None
    # Neon's answers hold no prices; a record of another kind, such as a closing, may hold cost.
    may_see = record is not None and (record.kind == "page" or persons.of(request).may("cost"))
    if record is None or record.seq != seq or not may_see:
        raise NotFoundError(f"The journal has no record {text[:40]!r}.", hint="An explained line links to its pages.")
    try:
        body, is_dropped = record.body, False
    except JournalDamagedError:
        body, is_dropped = b"", True
    if request.query_params.get("format") == "raw":
        headers = {"content-disposition": f'attachment; filename="page-{seq}.json"'}
        return Response(body, media_type="application/octet-stream", headers=headers)
    shown = _readable(body)
    return desk.page(
        request,
        "page",
        view,
        title=f"Record {seq}",
        record=record,
        body=shown[:LONGEST_PAGE],
        is_cut=len(shown) > LONGEST_PAGE,
        is_dropped=is_dropped,
        bytes=str(len(body)),
    )


def _readable(body: bytes) -> str:
    """Indented JSON with its numbers unchanged; anything else unchanged."""
    try:
        return msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode("utf-8", "replace")


PAGES = (Page(path="/page", answer=raw_page, needs="see"),)
