"""The kinds of value that a configuration file holds: numbers written as strings, dates, names.

Each is an annotation that says what is wrong and what would be right. Must not know which keys exist or where a value
came from.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

from pydantic import AfterValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError

from metering.core.ids import canonical
from metering.core.period import parse_time

_PLAIN_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MONTH_NAME = re.compile(r"[1-9][0-9]{3}-(0[1-9]|1[0-2])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MIDNIGHT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}) 00:00(:00)?")
"""What spreadsheets make of a date."""
_DAY_OR_MONTH = re.compile(r"([0-9]{1,4}([./])[0-9]{1,2}\2[0-9]{1,4}|[0-9]{1,2}-[0-9]{1,2}-[0-9]{2,4})( .*)?")
_AMBIGUOUS = "write year, month and day (2026-01-31): in a spreadsheet, format the column as YYYY-MM-DD before saving"
_ZONELESS = "write a date (2026-01-01) or an RFC 3339 time in UTC (2026-01-01T00:00:00Z)"


Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class WrittenFloat:
    """A float literal of a file, kept as it was written: it is never read as a number, only quoted in a fault.

    Give it to a TOML or JSON reader as `parse_float`.
    """

    text: str

    def __repr__(self) -> str:
        return self.text


def refuse(what: str, right: str = "") -> NoReturn:
    """Raises the error that pydantic collects: what is wrong with a value, and what would be right."""
    raise PydanticCustomError("refused", "{what}", {"what": what, "right": right})


def plain_decimal(value: object) -> Decimal:
    """A decimal number written as a string, its digits kept: no exponent, no NaN, no bare point, no `+`."""
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if isinstance(value, int | float | WrittenFloat | Decimal) and not isinstance(value, bool):
        refuse(f"is the bare number {value!r}", f'write it as a string: "{value!r}"')
    if not isinstance(value, str):
        refuse(f"is {shown(value)}, not a decimal number", 'write a string of digits such as "0.16"')
    if not _PLAIN_DECIMAL.fullmatch(value):
        refuse(f"{value!r} is not a plain decimal number", _plainer(value))
    return Decimal(value)


def _plainer(text: str) -> str:
    """How to write a number that a spreadsheet or a habit wrote otherwise."""
    bare = "".join(text.replace("%", "").split())
    if _PLAIN_DECIMAL.fullmatch(bare):
        return f'write "{bare}"'
    if _PLAIN_DECIMAL.fullmatch(bare.replace(",", ".")):
        return f'write a point for the comma: "{bare.replace(",", ".")}"'
    return 'write digits with at most one point, such as "0.16"'


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
        given, midnight = value, _MIDNIGHT.fullmatch(value)
        text = midnight[1] if midnight else value
        try:
            value = date.fromisoformat(text) if len(text) <= 10 else parse_time(text)
        except (ValueError, OverflowError):
            refuse(f"{given!r} is not a date", _AMBIGUOUS if _DAY_OR_MONTH.fullmatch(given) else _ZONELESS)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            refuse(f"{value.isoformat()} has no time zone", _ZONELESS)
        value = value.astimezone(UTC)
        if value.microsecond:
            refuse(f"{value.isoformat()} has a fraction of a second", "write whole seconds")
        return value
    if isinstance(value, date):
        return datetime.combine(value, time(), tzinfo=UTC)
    refuse(f"is {shown(value)}, not a date", _ZONELESS)


def _month_start(value: object) -> datetime:
    start = moment(value)
    if (start.day, start.hour, start.minute, start.second) != (1, 0, 0, 0):
        refuse(f"{start:%Y-%m-%dT%H:%M:%SZ} is not the beginning of a month", "write its first day, such as 2026-07-01")
    return start


def _day(value: object) -> datetime:
    start = moment(value)
    if (start.hour, start.minute, start.second) != (0, 0, 0):
        refuse(f"{start:%Y-%m-%dT%H:%M:%SZ} is not the beginning of a day", "write a date, such as 2026-10-01")
    return start


def _month_name(value: object) -> str:
    if not isinstance(value, str) or not _MONTH_NAME.fullmatch(value):
        refuse(f"is {shown(value)}, not a month", 'write year and month in quotes, such as "2026-10"')
    return value


def one_line(value: object) -> str:
    """One printable line that is not blank."""
    text = _free_text(value)
    if not text.strip():
        refuse("is empty", "write something or leave the key out")
    if _CONTROL.search(text):
        refuse("holds a control character", "write one line of printable text")
    return text


def _free_text(value: object) -> str:
    if not isinstance(value, str):
        refuse(f"is {shown(value)}, not text", "write it in quotes")
    return value


def _id(value: object) -> str:
    return canonical(one_line(value))


def _identifier(value: object) -> str:
    text = _id(value)
    if "/" in text or any(character.isspace() for character in text) or len(text) > 100:
        refuse(f"{text!r} is no identifier", "write up to 100 characters without blanks and slashes")
    return text


def _currency(value: object) -> str:
    text = one_line(value)
    if not re.fullmatch(r"[A-Z]{3}", text):
        refuse(f"{text!r} is no currency", "write its three capital letters by ISO 4217, such as USD")
    return text


def _locale(value: object) -> str:
    text = one_line(value)
    if text != "en":
        from metering.core.locales import is_locale  # noqa: PLC0415 - CLDR is only loaded where somebody asks for it

        if not is_locale(text):
            refuse(f"{text!r} is no locale", "write a language and, where it matters, a country, such as de or de-BE")
    return text


def _path(value: object) -> Path:
    return value if isinstance(value, Path) else Path(one_line(value))


def _environment_name(value: object) -> str:
    text = one_line(value)
    if text.startswith(("napi_", "whsec_")):
        refuse("holds a secret itself", "write the name of the environment variable that holds it")
    if not _ENVIRONMENT_NAME.fullmatch(text):
        refuse("is not the name of an environment variable", "write letters, digits and _, such as NEON_API_KEY")
    return text


def whole(value: object) -> int:
    """A whole number that is not a truth value."""
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(f"is {shown(value)}, not a whole number", "write digits without quotes")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        refuse(f"is {shown(value)}, neither true nor false", "write true or false without quotes")
    return value


def _written_flag(value: object) -> bool:
    """A flag of a CSV file, where spreadsheets write TRUE."""
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if isinstance(value, bool):
        return value
    refuse(f"is {shown(value)}, neither true nor false", "write true or false")


def _some(values: tuple[Item, ...]) -> tuple[Item, ...]:
    if not values:
        refuse("is empty", "name at least one")
    return values


def shown(value: object) -> str:
    """A raw value as a fault names it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else repr(value)


Some = Annotated[tuple[Item, ...], AfterValidator(_some)]
"""A list of at least one."""
Text = Annotated[str, PlainValidator(one_line)]
"""One line, not blank."""
FreeText = Annotated[str, PlainValidator(_free_text)]
"""Anything, also several lines or nothing."""
Id = Annotated[str, PlainValidator(_id)]
"""Names somebody or something: one line, not blank, as ids are compared."""
Identifier = Annotated[str, PlainValidator(_identifier)]
"""Goes into keys of lines, so without blanks and slashes."""
Currency = Annotated[str, PlainValidator(_currency)]
LocaleName = Annotated[str, PlainValidator(_locale)]
EnvironmentName = Annotated[str, PlainValidator(_environment_name)]
FilePath = Annotated[Path, PlainValidator(_path)]
Flag = Annotated[bool, PlainValidator(_flag)]
WrittenFlag = Annotated[bool, PlainValidator(_written_flag)]
Whole = Annotated[int, PlainValidator(whole)]
Moment = Annotated[datetime, PlainValidator(moment)]
Day = Annotated[datetime, PlainValidator(_day)]
"""The beginning of a day in UTC."""

MonthName = Annotated[str, PlainValidator(_month_name)]
"""A calendar month as commands name it: 2026-10."""
MonthStart = Annotated[datetime, PlainValidator(_month_start)]
NotNegative = Annotated[Decimal, PlainValidator(_not_negative)]
Positive = Annotated[Decimal, PlainValidator(_positive)]
Percent = Annotated[Decimal, PlainValidator(_percent)]
Markup = Annotated[Decimal, PlainValidator(_markup)]
Count = Annotated[Whole, Field(ge=0, le=2**63 - 1)]
"""A whole number as Neon's API takes it."""


def named(data: object) -> object:
    """Raw data of a model with `id` and `name`: a missing name becomes the id."""
    if isinstance(data, dict) and not data.get("name") and isinstance(data.get("id"), str):
        return {**data, "name": canonical(data["id"])}
    return data


def closest(unknown: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown key or name: the closest of the known ones, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(unknown.lower(), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"known here: {', '.join(names)}" if names else ""
