"""The kinds of value that a configuration file holds, and how a wrong one is explained.

Knows numbers written as strings, dates, names and addresses, and turns pydantic's errors into `Fault`s. Must not know
which keys exist (that is config.py's) or where a value came from.
"""

import difflib
import ipaddress
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, NoReturn, Union
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from metering.errors import Fault
from metering.period import parse_time

_PLAIN_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ZONELESS = "write a date (2026-01-01) or an RFC 3339 time in UTC (2026-01-01T00:00:00Z)"


@dataclass(frozen=True, slots=True)
class WrittenFloat:
    """A float literal of a file, kept as it was written: it is never read as a number, only quoted in a fault.

    Give it to a TOML or JSON reader as `parse_float`.
    """

    text: str

    def __repr__(self) -> str:
        return self.text


def refuse(what: str, right: str = "") -> NoReturn:
    """Raises what pydantic collects: what is wrong with a value, and what would be right."""
    raise PydanticCustomError("refused", "{what}", {"what": what, "right": right})


def plain_decimal(value: object) -> Decimal:
    """A decimal number written as a string, its digits kept: no exponent, no NaN, no bare point, no `+`."""
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if isinstance(value, int | float | WrittenFloat | Decimal) and not isinstance(value, bool):
        refuse(f"is the bare number {value!r}", f'write it as a string: "{value!r}"')
    if not isinstance(value, str):
        refuse(f"is {_shown(value)}, not a decimal number", 'write a string of digits such as "0.16"')
    if not _PLAIN_DECIMAL.fullmatch(value):
        refuse(f"{value!r} is not a plain decimal number", 'write digits with at most one point, such as "0.16"')
    return Decimal(value)


def _not_negative(value: object) -> Decimal:
    number = plain_decimal(value)
    if number.is_signed():
        refuse(f"is {number}, below zero", 'write "0" or more')
    return number


def _positive(value: object) -> Decimal:
    number = _not_negative(value)
    if not number:
        refuse("is 0", "write a number above zero")
    return number


def _markup(value: object) -> Decimal:
    number = plain_decimal(value)
    if number < -100:
        refuse(f"is {number}", 'write "-100" or more; "25" adds a quarter to the cost')
    return number


def _percent(value: object) -> Decimal:
    number = _not_negative(value)
    if number > 100:
        refuse(f"is {number}", 'write a percentage from "0" to "100"')
    return number


def moment(value: object) -> datetime:
    """A date (its midnight), or a time with a zone, from TOML or from text; in UTC."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) <= 10 else parse_time(value)
        except (ValueError, OverflowError):
            refuse(f"{value!r} is not a date", _ZONELESS)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            refuse(f"{value.isoformat()} has no time zone", _ZONELESS)
        value = value.astimezone(UTC)
        if value.microsecond:
            refuse(f"{value.isoformat()} has a fraction of a second", "write whole seconds")
        return value
    if isinstance(value, date):
        return datetime.combine(value, time(), tzinfo=UTC)
    refuse(f"is {_shown(value)}, not a date", _ZONELESS)


def _text(value: object) -> str:
    if not isinstance(value, str):
        refuse(f"is {_shown(value)}, not text", "write it in quotes")
    if not value.strip():
        refuse("is empty", "write something or leave the key out")
    if _CONTROL.search(value):
        refuse("holds a control character", "write one line of printable text")
    return value


def _free_text(value: object) -> str:
    if not isinstance(value, str):
        refuse(f"is {_shown(value)}, not text", "write it in quotes")
    return value


def _identifier(value: object) -> str:
    text = _text(value)
    if "/" in text or any(character.isspace() for character in text) or len(text) > 100:
        refuse(f"{text!r} is no identifier", "write up to 100 characters without blanks and slashes")
    return text


def _currency(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"[A-Z]{3}", text):
        refuse(f"{text!r} is no currency", "write its three capital letters by ISO 4217, such as USD")
    return text


def _path(value: object) -> Path:
    return value if isinstance(value, Path) else Path(_text(value))


def _environment_name(value: object) -> str:
    text = _text(value)
    if text.startswith(("napi_", "whsec_")):
        refuse("holds a secret itself", "write the name of the environment variable that holds it")
    if not _ENVIRONMENT_NAME.fullmatch(text):
        refuse("is not the name of an environment variable", "write letters, digits and _, such as NEON_API_KEY")
    return text


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(f"is {_shown(value)}, not a whole number", "write digits without quotes")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        refuse(f"is {_shown(value)}, neither true nor false", "write true or false without quotes")
    return value


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else repr(value)


Text = Annotated[str, PlainValidator(_text)]
"""One line, not blank."""
FreeText = Annotated[str, PlainValidator(_free_text)]
"""Anything, also several lines or nothing."""
Identifier = Annotated[str, PlainValidator(_identifier)]
"""Goes into keys of lines, so without blanks and slashes."""
Currency = Annotated[str, PlainValidator(_currency)]
EnvironmentName = Annotated[str, PlainValidator(_environment_name)]
FilePath = Annotated[Path, PlainValidator(_path)]
Flag = Annotated[bool, PlainValidator(_flag)]
Whole = Annotated[int, PlainValidator(_whole)]
Moment = Annotated[datetime, PlainValidator(moment)]
NotNegative = Annotated[Decimal, PlainValidator(_not_negative)]
Positive = Annotated[Decimal, PlainValidator(_positive)]
Percent = Annotated[Decimal, PlainValidator(_percent)]
Markup = Annotated[Decimal, PlainValidator(_markup)]
Count = Annotated[Whole, Field(ge=0, le=2**63 - 1)]
"""A whole number as Neon's API takes it."""


def named(data: object) -> object:
    """Raw data of a model with `id` and `name`: who has no name is called by the id."""
    if isinstance(data, dict) and not data.get("name") and isinstance(data.get("id"), str):
        return {**data, "name": data["id"]}
    return data


def url_parts(text: str) -> SplitResult:
    """The parts of an http(s) address without user, query or fragment; refuses others without repeating them."""
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError:
        refuse("is no address", "write https://host/path")
    if parts.scheme not in {"https", "http"} or not host or port == 0:
        refuse("is no https address", "write https://host/path")
    if parts.username is not None or parts.password is not None:
        refuse("holds a user or a password", "leave out the part before the @")
    if parts.fragment or any(character.isspace() for character in text) or not text.isascii():
        refuse("holds a blank, a # or a letter that addresses do not have", "write https://host/path")
    return parts


def is_loopback(host: str | None) -> bool:
    """Whether the host is this machine, by its literal address or the name `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def key(parts: Iterable[str | int]) -> str:
    """`("plans", 0, "prices", 1)` as `plans[0].prices[1]`."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def inner(annotation: object) -> object:
    """A field's annotation without `Annotated` and without `| None`: a model, a plain type, or tuple[...]/dict[...]."""
    if typing.get_origin(annotation) is Annotated:
        return inner(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in {Union, types.UnionType}:
        return inner(next(arg for arg in typing.get_args(annotation) if arg is not type(None)))
    return annotation


def step(annotation: object, part: str | int) -> object | None:
    """The annotation below this one at a key or a list position; None where there is none."""
    annotation = inner(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is tuple and isinstance(part, int):
        return typing.cast("object", arguments[0])
    return typing.cast("object", arguments[1]) if origin is dict else None


def keys_of(annotation: object) -> list[str]:
    """The keys that a model has; of anything else, none."""
    found = inner(annotation)
    return list(found.model_fields) if isinstance(found, type) and issubclass(found, BaseModel) else []


def closest(unknown: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown key or name: the closest of the known ones, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(unknown.lower(), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"known here: {', '.join(names)}" if names else ""


def faults_of(error: ValidationError, model: type[BaseModel], where: tuple[str | int, ...]) -> list[Fault]:
    """Errors of pydantic's for one model as faults whose keys start at `where`."""
    return [_fault(detail, model, where) for detail in error.errors(include_url=False)]


def _fault(detail: ErrorDetails, model: type[BaseModel], where: tuple[str | int, ...]) -> Fault:
    place = tuple(part for part in detail["loc"] if part != "[key]")
    what, right = _explained(detail, place, model)
    return Fault(where=key(where + place), what=what, right=right)


def _explained(detail: ErrorDetails, place: tuple[str | int, ...], model: type[BaseModel]) -> tuple[str, str]:
    context: Mapping[str, object] = detail.get("ctx", {})
    shown = _shown(detail["input"])
    known = closest(str(place[-1]), _known_keys(model, place[:-1])) if place else ""
    told = {
        "refused": (str(context.get("what")), str(context.get("right"))),
        "missing": ("is missing", "this key must be given"),
        "extra_forbidden": ("is not a known key", known),
        "literal_error": (f"is {shown}", f"write one of {context.get('expected')}"),
        "greater_than_equal": (f"is {shown}", f"write {context.get('ge')} or more"),
        "less_than_equal": (f"is {shown}", f"write {context.get('le')} or less"),
        "too_short": ("is empty", "name at least one"),
        "tuple_type": (f"is {shown}, not a list", "write it in [ ]"),
        "dict_type": (f"is {shown}, not a table", "write { key = value } or a [section]"),
        "model_type": (f"is {shown}, not a table", "write { key = value } or a [section]"),
    }
    return told.get(detail["type"], (detail["msg"], ""))


def _known_keys(model: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    annotation: object | None = model
    for part in place:
        annotation = step(annotation, part)
    return keys_of(annotation)
