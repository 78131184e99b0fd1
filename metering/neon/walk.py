"""An answer of Neon's, and the walk through all pages of a list. Sends nothing itself; knows no budget and no store.

A walk ends where the cursor is absent, where a page brings nothing, or where a known cursor returns with nothing new.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from metering.core.errors import NeonError
from metering.core.secrets import Secret
from metering.neon.refusals import clean
from metering.neon.wire import Envelope

MAX_PAGES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A 200, as received, with its ids and cursor. Times are the business clock's."""

    path: str
    params: dict[str, str]
    sent_at: datetime
    received_at: datetime
    request_id: str
    server_date: datetime | None
    body: bytes
    page: Envelope


@dataclass(slots=True, kw_only=True)
class Seen:
    """How far a walk has come; `cursor` leads to the next page (None before the first page and after the last)."""

    cursor: str | None = None
    cursors: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)


async def walk(
    get: Callable[[Mapping[str, str]], Awaitable[Answer]],
    path: str,
    params: Mapping[str, str],
    key: Secret,
    seen: Seen | None = None,
) -> AsyncGenerator[Answer, None]:
    """Yields every page of a list, in order, from where `seen` stands; `seen` moves with each answer.

    `get` asks for the page of some parameters. Raises NeonError if the cursor goes in circles.
    """
    seen = seen or Seen()
    for _ in range(MAX_PAGES):
        answer = await get(dict(params) if seen.cursor is None else {**params, "cursor": seen.cursor})
        page = answer.page
        is_new = bool(set(page.items) - seen.items)
        is_known = page.cursor in seen.cursors
        seen.items.update(page.items)
        seen.cursor = None if not page.items or (is_known and not is_new) else page.cursor
        yield answer
        if seen.cursor is None:
            return
        if is_known:
            shown = clean(seen.cursor, key)
            raise NeonError(f"GET {path} sent the cursor {shown!r} twice", hint="the walk counts as broken")
        seen.cursors.add(seen.cursor)
    raise NeonError(f"GET {path} did not end after {MAX_PAGES} pages")
