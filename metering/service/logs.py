"""The service's log on stderr: one event per line, as JSON unless stderr is a terminal. Keys are redacted.

Knows the form of a line. Events and fields come from the caller, the time from a clock.
"""

import re
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime
from typing import Any, TextIO

import structlog

from metering.core.period import rfc3339

Log = structlog.typing.FilteringBoundLogger

_SECRET = re.compile(r"(?:napi_|whsec_)[^\s'\"]+|(?i:bearer)\s+[^\s'\"]+")
DEBUG = 10


def redacted(text: str) -> str:
    """The text with everything that looks like a key replaced."""
    return _SECRET.sub("***", text)


def logger(stream: TextIO, clock: Callable[[], datetime], *, is_terminal: bool) -> Log:
    """A logger that writes time, level, event and fields to the stream: aligned for a terminal, else as JSON."""
    shown: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
        if is_terminal
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )

    def stamp(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        told = event.pop("event")
        return {"time": rfc3339(clock()), "level": event.pop("level"), "event": told, **event}

    def for_people(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"timestamp" if name == "time" else name: value for name, value in event.items()}

    found: Log = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[structlog.processors.add_log_level, stamp, _redact, *([for_people] if is_terminal else []), shown],
        wrapper_class=structlog.make_filtering_bound_logger(DEBUG),
        cache_logger_on_first_use=True,
    )
    return found


def _redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redacts every text of a line, also nested ones."""
    return {name: _clean(value) for name, value in event.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {_clean(name): _clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int) else redacted(str(value))
