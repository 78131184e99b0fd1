"""Translates pydantic's errors into faults with key, problem and remedy.

Knows how keys are written (`plans[0].prices[1].unit_price`) and how to walk the models' annotations. Must not know
any single setting.
"""

import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Union

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from metering.core.errors import Fault
from metering.core.values import closest, shown


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


def faults_of(error: ValidationError, model: type[BaseModel], where: tuple[str | int, ...]) -> list[Fault]:
    """Errors of pydantic's for one model as faults whose keys start at `where`."""
    return [_fault(detail, model, where) for detail in error.errors(include_url=False)]


def _fault(detail: ErrorDetails, model: type[BaseModel], where: tuple[str | int, ...]) -> Fault:
    place = tuple(part for part in detail["loc"] if part != "[key]")
    what, right = _explained(detail, place, model)
    return Fault(where=key(where + place), what=what, right=right)


def _explained(detail: ErrorDetails, place: tuple[str | int, ...], model: type[BaseModel]) -> tuple[str, str]:
    context: Mapping[str, object] = detail.get("ctx", {})
    given = shown(detail["input"])
    known = closest(str(place[-1]), _known_keys(model, place[:-1])) if place else ""
    told = {
        "refused": (str(context.get("what")), str(context.get("right"))),
        "missing": ("is missing", "this key must be given"),
        "extra_forbidden": ("is not a known key", known),
        "literal_error": (f"is {given}", f"write one of {context.get('expected')}"),
        "greater_than_equal": (f"is {given}", f"write {context.get('ge')} or more"),
        "less_than_equal": (f"is {given}", f"write {context.get('le')} or less"),
        "tuple_type": (f"is {given}, not a list", "write it in [ ]"),
        "dict_type": (f"is {given}, not a table", "write { key = value } or a [section]"),
        "model_type": (f"is {given}, not a table", "write { key = value } or a [section]"),
    }
    return told.get(detail["type"], (detail["msg"], ""))


def _known_keys(model: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    annotation: object | None = model
    for part in place:
        annotation = step(annotation, part)
    return keys_of(annotation)
