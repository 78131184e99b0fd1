"""Counts what goes wrong at the port and logs a limited number of lines, so that no client can fill the disk.

Knows the names of events. Must not know pages, and makes no decision.
"""

import threading
import time
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from prometheus_client import CollectorRegistry, Counter, generate_latest
from starlette.types import Scope

from metering.core.errors import MeteringError

MOST_PER_MINUTE = 10
"""Lines of one kind that are logged per minute; the number of further ones is logged as one line when it is over."""
MOST_CHARACTERS = 300
"""The log shows this much of an address."""
WARNING, ERROR = 30, 40

Log = Callable[..., object]
"""Takes level, event and fields, as `structlog`'s `log.log` does."""


class Watch:
    """Counts and logs; any thread may call it. Without a log it only counts."""

    def __init__(self, log: Log | None = None, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._log, self._clock = log, clock
        self._turn = threading.Lock()
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._registry = CollectorRegistry()
        self._failures = Counter(
            "metering_page_failures", "Pages and API answers that failed.", ["page"], registry=self._registry
        )
        self._refusals = Counter(
            "metering_port_refusals", "Connections and requests that were refused.", ["reason"], registry=self._registry
        )

    def failed(self, scope: Scope, error: BaseException) -> None:
        """Records that a page or an API answer failed; the traceback is logged unless the error is a MeteringError."""
        page = page_of(scope)
        self._failures.labels(page).inc()
        self._tell(f"page {page}", ERROR, "page failed", {"address": address_of(scope), **_told(error)})

    def trouble(self, what: str, error: BaseException) -> None:
        """Records that background work failed, for which no request waits."""
        self._failures.labels(what).inc()
        self._tell(what, ERROR, f"{what} failed", _told(error))

    def refused(self, reason: str, peer: str, **told: Any) -> None:
        """Records that a connection or a request was refused."""
        self._refusals.labels(reason).inc()
        self._tell(reason, WARNING, "refused", {"reason": reason, "peer": peer, **told})

    def exposition(self) -> bytes:
        """The counters in Prometheus' text format."""
        return generate_latest(self._registry)

    def flush(self, *, is_end: bool = False) -> None:
        """Logs how many lines were suppressed, if their minute is over or the service ends."""
        with self._turn:
            left_out = self._begin_minute(is_over=is_end)
        self._say(left_out)

    def _tell(self, kind: str, level: int, event: str, told: dict[str, Any]) -> None:
        with self._turn:
            left_out = self._begin_minute()
            self._counts[kind] = count = self._counts.get(kind, 0) + 1
        self._say(left_out)
        if self._log is not None and count <= MOST_PER_MINUTE:
            self._log(level, event, **told)

    def _begin_minute(self, *, is_over: bool = False) -> dict[str, int]:
        """Starts a new minute if the last one is over, and returns kind -> lines suppressed in it."""
        minute = self._clock() // 60_000_000_000
        if minute == self._minute and not is_over:
            return {}
        over, self._counts, self._minute = self._counts, {}, minute
        return {kind: count - MOST_PER_MINUTE for kind, count in over.items() if count > MOST_PER_MINUTE}

    def _say(self, left_out: dict[str, int]) -> None:
        if self._log is not None:
            for kind, count in left_out.items():
                self._log(WARNING, "more of the same", kind=kind, not_logged=count)


def page_of(scope: Scope) -> str:
    """The pattern of the address, such as `/usage/{token}`: a small number of values, as labels need it."""
    return str(getattr(scope.get("route"), "path", "other"))


def address_of(scope: Scope) -> str:
    """Method, path and query of the request, without the key in the path of a customer's link."""
    path = page_of(scope) if scope.get("path_params") else quote(str(scope.get("path", "")))
    query = scope.get("query_string", b"").decode("ascii", "replace")
    return f"{scope.get('method', '')} {path}{'?' if query else ''}{query}"[:MOST_CHARACTERS]


def _told(error: BaseException) -> dict[str, Any]:
    told: dict[str, Any] = {"error": str(error), "kind": type(error).__name__}
    if isinstance(error, MeteringError):
        return told | ({"hint": error.hint} if error.hint else {})
    return told | {"traceback": "".join(traceback.format_exception(error))[-8000:]}
