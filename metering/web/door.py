"""Refuses malformed and oversized requests and too many at once, and records every exception behind it.

Stands before the guard, so it knows nothing of users. Must not know pages.
"""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metering.core.exhaustion import in_a_sentence
from metering.web.guard import with_headers
from metering.web.watch import Watch

MOST_ANSWERED = 64
"""Requests, without probes, that are answered at a time; each occupies a thread or waits for one."""
MOST_BODY_BYTES = 65_536
"""The forms of the dashboard have a few fields."""
RETRY_SECONDS = 5
_CLOSE = {"connection": "close"}


class Door:
    """ASGI application before the guard. `probes` are answered regardless of the number of other requests."""

    def __init__(self, app: ASGIApp, watch: Watch, *, probes: Collection[str] = ()) -> None:
        self._app, self._watch, self._probes = app, watch, frozenset(probes)
        self._answered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request itself if it refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = with_headers(send)
        if scope["path"] in self._probes:
            await self._answer(scope, receive, send)
        elif refusal := self._refusal(scope):
            await refusal(scope, receive, send)
        else:
            self._answered += 1
            try:
                await self._answer(scope, receive, send)
            finally:
                self._answered -= 1

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        reason, status, text = _fault(scope) or ("", 0, "")
        more = {}
        if not reason and self._answered >= MOST_ANSWERED:
            reason, status, text = "too many requests at once", 503, "Too many requests at once."
            more = {"retry-after": str(RETRY_SECONDS)}
        if not reason:
            return None
        self._watch.refused(reason, _peer(scope))
        return PlainTextResponse(f"{text}\n", status, {**_CLOSE, **more})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_begun = False

        async def sending(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            with in_a_sentence():
                await self._app(scope, self._limited(scope, receive), sending)
        except ClientDisconnect:
            return  # the client has hung up
        except Exception as error:  # the service outlives what nobody thought of, and says so
            self._watch.failed(scope, error)
            if not is_begun:
                await PlainTextResponse("This could not be answered; the log says why.\n", 500, _CLOSE)(
                    scope, receive, send
                )

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Counts the body as it arrives, because a chunked body does not state its length."""
        count = 0

        async def receiving() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > MOST_BODY_BYTES:
                self._watch.refused("body too long", _peer(scope))
                raise HTTPException(413, "The body is too long.", _CLOSE)
            return message

        return receiving


def _peer(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


def _fault(scope: Scope) -> tuple[str, int, str] | None:
    """(reason, status, text) if the request states two lengths, or one that is too large."""
    headers = Headers(scope=scope)
    lengths, is_chunked = headers.getlist("content-length"), "transfer-encoding" in headers
    if is_chunked and (lengths or scope.get("http_version") != "1.1"):
        # A proxy may have used the other of the two; then the rest of this body is a smuggled request.
        return "two lengths", 400, "A request has content-length or transfer-encoding, not both."
    if any(int(text) > MOST_BODY_BYTES for text in lengths if text.isascii() and text.isdigit()):
        return "body too long", 413, "The body is too long."
    return None
