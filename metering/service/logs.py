"""What the service says on stderr: one event a line, JSON where no person reads along; keys are never shown.

Knows how a line looks. Must not know what happened: events and fields come from the caller, the time from a clock.
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
    """The text without what looks like a key."""
    return _SECRET.sub("***", text)


def logger(stream: TextIO, clock: Callable[[], datetime], *, is_terminal: bool) -> Log:
    """Writes lines with time, level, event and fields to the stream: for people on a terminal, as JSON elsewhere."""
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
    """Every text of a line, however deep, without what looks like a key."""
    return {name: _clean(value) for name, value in event.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {_clean(name): _clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int) else redacted(str(value))
