"""Types of settings that are addresses or patterns of names, numbers and events; and the list of events.

Pure. Must not know whether an address answers, or which key is sent there.
"""

import re
import string
import unicodedata
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, PlainValidator

from metering.core.addresses import is_loopback, listen_parts, url_parts
from metering.core.values import Some, Whole, closest, one_line, refuse

EVENTS = (
    "quota.threshold_reached",
    "quota.exceeded",
    "invoice.finalized",
    "invoice.voided",
    "poll.stalled",
    "poll.recovered",
    "close.blocked",
    "delivery.failing",
    "backup.failing",
    "backup.recovered",
    "report.ready",
)
"""The types of events that webhooks and channels can receive."""


_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]*[A-Za-z0-9]")
_NUMBER_SPEC = re.compile(r"(0?[1-9][0-9]?)?d?")


def _listen(value: object) -> str:
    if value == "":
        return ""
    text = one_line(value)
    listen_parts(text)
    return text


def _base_url(value: object) -> str:
    text = one_line(value)
    parts = url_parts(text)
    if parts.query:
        refuse("has a query", "leave out the ? and what follows")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        refuse("would send the key in the clear", "write https://; http:// is for a sandbox on this machine")
    return text.rstrip("/")


def _webhook_url(value: object) -> str:
    text = one_line(value)
    url_parts(text)
    return text


def _channel_url(value: object) -> str:
    text = one_line(value)
    scheme, _, rest = text.partition("://")
    if scheme not in {"smtp", "smtps"}:
        url_parts(text)
        return text
    if set(urlsplit(text).path + urlsplit(text).query) - {"/"}:
        refuse("names more than a mail server", "write smtp://host:port or smtps://host:port")
    url_parts(f"https://{rest}")
    return text


def _mail_address(value: object) -> str:
    text = one_line(value)
    if not _MAIL_ADDRESS.fullmatch(text) or len(text) > 254:
        refuse(f"{text!r} is no e-mail address", "write the address alone, such as ops@example.com")
    return text


def _name_pattern(value: object) -> str:
    text = unicodedata.normalize("NFC", one_line(value))  # names are compared in this form too
    from metering.core import name_patterns  # noqa: PLC0415 - polars is only loaded where there is a pattern

    if wrong := name_patterns.fault(text):
        refuse(*wrong)
    return text


def _number_pattern(value: object) -> str:
    text, right = one_line(value), 'write it like "INV-{year}-{number:06d}"'
    try:
        fields = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        refuse(f"is not a pattern: {error}", right)
    for name, spec, conversion in fields:
        if name not in {"year", "number"}:
            refuse(f"{{{name}}} is unknown", "only {year} and {number} can be filled in")
        if conversion or not _NUMBER_SPEC.fullmatch(spec or ""):
            refuse(f"{{{name}:{spec}}} cannot be filled in", "write digits as in {number:06d}")
    for name in ("year", "number"):
        if [field[0] for field in fields].count(name) != 1:
            refuse(f"must hold {{{name}}} once, or two invoices share a number", right)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.sub(r"\{[^{}]*\}", "0", text)):
        refuse("makes no file name", "use letters, digits, dots, dashes and underscores")
    if text.startswith("CN-"):
        refuse("looks like a credit note's number", "begin with something else than CN-")
    return text


def _event_pattern(value: object) -> str:
    pattern = one_line(value)
    if not any(fnmatchcase(event, pattern) for event in EVENTS):
        refuse(f"{pattern!r} names no event", closest(pattern, [*EVENTS, "quota.*", "invoice.*", "poll.*", "*"]))
    return pattern


def _threshold(value: int) -> int:
    if not 1 <= value <= 99:
        refuse(f"is {value}", "write 1 to 99; 100 always counts as exceeded")
    return value


def _ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    if any(first >= second for first, second in pairwise(values)):
        refuse(f"{list(values)} does not ascend", f"write {sorted(set(values))}")
    return values


BaseUrl = Annotated[str, PlainValidator(_base_url)]
"""https, or http on this machine; no slash at its end."""
WebhookUrl = Annotated[str, PlainValidator(_webhook_url)]
ChannelUrl = Annotated[str, PlainValidator(_channel_url)]
"""The URL of a webhook, or `smtp://` or `smtps://` with the name and port of a mail server."""
MailAddress = Annotated[str, PlainValidator(_mail_address)]
"""An e-mail address without name or comment, in ASCII."""
ListenAddress = Annotated[str, PlainValidator(_listen)]
"""An address of this machine with a port (0: any free one), or nothing."""
NamePattern = Annotated[str, PlainValidator(_name_pattern)]
"""A regular expression with the groups customer and plan."""
NumberPattern = Annotated[str, PlainValidator(_number_pattern)]
"""A format with {year} and {number} that makes distinct file names."""
EventPattern = Annotated[str, PlainValidator(_event_pattern)]
Thresholds = Annotated[Some[Annotated[Whole, AfterValidator(_threshold)]], AfterValidator(_ascending)]
