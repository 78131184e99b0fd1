"""The shapes of Neon's answers as msgspec decodes them, and what any answer tells whatever it is about.

Pure: bytes in, plain values out. Knows Neon's names of fields; what a value means is for the parsers to know.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from metering.core.errors import PageRefusedError
from metering.core.text import legible

Decoded = TypeVar("Decoded")

HUGEINT_LIMIT = 2**127


class Pagination(msgspec.Struct, gc=False):
    """Where a list goes on."""

    cursor: str | None = None
    next: str | None = None


class Id(msgspec.Struct, gc=False):
    """A row of any list, by its id."""

    project_id: str = ""
    id: str = ""


class _Envelope(msgspec.Struct, gc=False):
    projects: list[Id] = []
    branches: list[Id] = []
    pagination: Pagination | None = None


class Metric(msgspec.Struct, gc=False):
    """One metric of a bucket."""

    metric_name: str
    value: int | None = None


class Bucket(msgspec.Struct, gc=False):
    """One timeframe of a project."""

    timeframe_start: str | None = None  # a page repeats few distinct times: each is parsed once
    timeframe_end: str | None = None
    metrics: list[Metric] | None = None


class Period(msgspec.Struct, gc=False):
    """One of Neon's billing periods with its buckets."""

    period_id: str
    period_plan: str | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    consumption: list[Bucket] | None = None


class ProjectHistory(msgspec.Struct, gc=False):
    """One project's consumption."""

    project_id: str
    periods: list[Period] | None = None


class History(msgspec.Struct, gc=False):
    """A page of consumption history."""

    projects: list[ProjectHistory]
    pagination: Pagination | None = None


class Quota(msgspec.Struct, gc=False):
    """A project's limits."""

    active_time_seconds: int | None = None
    compute_time_seconds: int | None = None
    written_data_bytes: int | None = None
    data_transfer_bytes: int | None = None
    logical_size_bytes: int | None = None


class Settings(msgspec.Struct, gc=False):
    """A project's settings."""

    quota: Quota | None = None


class Project(msgspec.Struct, gc=False):
    """A project with its quota counters."""

    id: str
    name: str | None = None
    region_id: str | None = None
    org_id: str | None = None
    created_at: str | None = None
    deleted_at: str | None = None
    compute_last_active_at: str | None = None
    settings: Settings | None = None
    consumption_period_start: str | None = None
    consumption_period_end: str | None = None
    active_time_seconds: int | None = None
    compute_time_seconds: int | None = None
    written_data_bytes: int | None = None
    data_transfer_bytes: int | None = None


class Inventory(msgspec.Struct, gc=False):
    """A page of `/projects`; an answer without the list is refused, since it is no empty list."""

    projects: list[Project]
    unavailable_project_ids: list[str] | None = None


class OneProject(msgspec.Struct, gc=False):
    """The answer of `GET /projects/{id}`."""

    project: Project


class Branch(msgspec.Struct, gc=False):
    """A branch of a project."""

    id: str
    parent_id: str | None = None
    logical_size: int | None = None


class Branches(msgspec.Struct, gc=False):
    """A page of a project's branches."""

    branches: list[Branch]


class _Error(msgspec.Struct, gc=False):
    message: str = ""


class _Auth(msgspec.Struct, gc=False):
    auth_method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The ids and the cursor of a list page: what a walk needs, however faulty the numbers are."""

    items: tuple[str, ...]
    cursor: str | None


_envelope = msgspec.json.Decoder(_Envelope)
HISTORY = msgspec.json.Decoder(History)
INVENTORY = msgspec.json.Decoder(Inventory)
ONE_PROJECT = msgspec.json.Decoder(OneProject)
BRANCHES = msgspec.json.Decoder(Branches)
_error = msgspec.json.Decoder(_Error)
_auth = msgspec.json.Decoder(_Auth)


def envelope(body: bytes) -> Envelope:
    """The ids and the cursor of a list page; raises PageRefusedError if the body is no JSON object of that shape."""
    page = decode(_envelope, body)
    items = tuple(item.project_id or item.id for item in page.projects or page.branches)
    return Envelope(items=items, cursor=cursor(page.pagination))


def cursor(pagination: Pagination | None) -> str | None:
    """The cursor of the next page; None on the last."""
    return ((pagination.cursor or pagination.next) or None) if pagination else None


def error_message(body: bytes) -> str:
    """The message of an error body; raises PageRefusedError if the body is not one."""
    return decode(_error, body).message


def auth_method(body: bytes) -> str:
    """What `GET /auth` calls the key: `api_key_user`, `api_key_org`, `oauth` or another word."""
    return decode(_auth, body).auth_method


def decode(decoder: msgspec.json.Decoder[Decoded], body: bytes) -> Decoded:
    """Decodes a body; raises PageRefusedError if it does not have the decoder's shape."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise PageRefusedError(f"the answer is not what the API promises: {clean(error)}") from None


def checked(name: str, value: int | None, limit: int = HUGEINT_LIMIT) -> int | None:
    """The value, if it is not negative and below the limit; raises PageRefusedError otherwise."""
    if value is not None and not 0 <= value < limit:
        fault = "is negative" if value < 0 else f"is beyond {limit.bit_length() - 1} bits"
        raise PageRefusedError(f"a value of {clean(name)} {fault}: {str(value)[:60]}")
    return value


def utc(moment: datetime | None) -> datetime | None:
    """The moment in UTC; None in the years 1 and 9999, which stand for none (and where a zone may lead out of time)."""
    if moment is None or not 1 < moment.year < 9999:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def clean(text: object) -> str:
    """Text from a page, fit for a message: printable and at most 200 characters."""
    return legible(str(text)[:200])
