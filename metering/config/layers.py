"""Overrides the file's values by the environment and the command line, and records the source of each value.

Knows how a setting is named in each layer (`neon.base_url`, `METERING_NEON__BASE_URL`); the set of settings is given
as the top-level keys' annotations. Values stay raw, as in TOML: reading.py validates them.
"""

import json
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from metering.config.faults import inner, key, keys_of, step
from metering.core.errors import Fault
from metering.core.values import WrittenFloat, closest

PREFIX = "METERING_"

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layered:
    """The merged raw data; `origins` maps a key such as `neon.base_url` to its source."""

    data: dict[str, object]
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def layered(
    file_data: dict[str, object],
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    settings: Mapping[str, object],
) -> Layered:
    """Applies the environment, then `overrides` (dotted keys), to `file_data`, which is changed in place."""
    out = Layered(data=file_data)
    out.origins.update((key(place), "file") for place in _file_leaves(file_data, ()))
    unknown: dict[str, Fault] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        parts = name.removeprefix(PREFIX).lower().split("__")
        fault = _lay(out, parts, environ[name], f"environment {name}", settings)
        if fault:
            unknown[name] = fault
    for dotted in sorted(overrides):
        parts = dotted.replace("[", ".").replace("]", "").split(".")
        fault = _lay(out, parts, overrides[dotted], "command line", settings)
        if fault:
            out.faults.append(fault)
    # A variable with a secret may have any name, also one that begins with METERING_.
    named = set(_secret_names(out.data))
    out.faults.extend(fault for name, fault in unknown.items() if name not in named)
    return out


def defaults(config: BaseModel, names: list[str]) -> Iterator[str]:
    """The keys of all values of a configuration under these top-level names, including defaults."""
    for name in names:
        yield from (key(place) for place in _leaves(getattr(config, name), (name,)))


def _lay(out: Layered, parts: list[str], text: str, source: str, settings: Mapping[str, object]) -> Fault | None:
    place, annotation, known = _resolved(parts, settings)
    where = source.removeprefix("environment ") if source != "command line" else ".".join(parts)
    if annotation is None:
        return Fault(where=where, what="names no setting", right=closest(parts[len(place)], known))
    if not _is_leaf(annotation):
        return Fault(where=where, what=f"names the whole of {key(place)}", right="name one of its keys")
    try:
        value = _converted(text, annotation)
    except ValueError as error:
        return Fault(where=f"{key(place)} ({where})", what=str(error))
    problem = _put(out.data, place, value)
    if problem:
        return Fault(where=where, what=problem)
    out.origins[key(place)] = source
    _take_away_twins(out, place, source)
    return None


def _take_away_twins(out: Layered, place: Place, source: str) -> None:
    """`api_key_file` of a layer replaces `api_key_env` of the layers below it: they are two ways to say one thing."""
    *above, name = place
    node: object = out.data
    for part in above:
        node = node[part]  # type: ignore[index]
    stem = str(name).removesuffix("_env").removesuffix("_file")
    for twin in {stem, f"{stem}_env", f"{stem}_file"} - {name}:
        origin = out.origins.get(key((*above, twin)), "")
        if isinstance(node, dict) and twin in node and origin.split(" ")[0] != source.split(" ", maxsplit=1)[0]:
            del node[twin], out.origins[key((*above, twin))]


def _resolved(parts: list[str], settings: Mapping[str, object]) -> tuple[Place, object | None, list[str]]:
    """Follows the parts: the place, its annotation (None where there is no such key), and the known keys there."""
    if parts[0] not in settings:
        return (), None, list(settings)
    place: Place = (parts[0],)
    annotation = settings[parts[0]]
    for text in parts[1:]:
        part = int(text) if _is_list(annotation) and text.isdecimal() and text.isascii() else text
        below = None if _is_list(annotation) and _is_leaf(annotation) else step(annotation, part)
        if below is None:
            return place, None, keys_of(annotation)
        place, annotation = (*place, part), below
    return place, annotation, []


def _is_list(annotation: object) -> bool:
    return typing.get_origin(inner(annotation)) is tuple


def _is_leaf(annotation: object) -> bool:
    found = inner(annotation)
    if isinstance(found, type) and issubclass(found, BaseModel):
        return False
    origin = typing.get_origin(found)
    return _scalar_items(found) if origin is tuple else origin is not dict


def _scalar_items(annotation: object) -> bool:
    item = inner(typing.get_args(annotation)[0])
    return not (isinstance(item, type) and issubclass(item, BaseModel))


def _converted(text: str, annotation: object) -> object:
    """Converts text to the raw value that TOML would give; raises ValueError with the problem."""
    found = inner(annotation)
    if typing.get_origin(found) is tuple:
        return [_converted(item, typing.get_args(found)[0]) for item in _items(text)]
    if found is bool:
        if text.lower() not in {"true", "false"}:
            raise ValueError(f"{text!r} is neither true nor false")
        return text.lower() == "true"
    if found is int:
        digits = text.strip()
        if not (digits.removeprefix("-").isdecimal() and digits.isascii() and len(digits) < 40):
            raise ValueError(f"{text!r} is not a whole number")
        return int(digits)
    return text


def _items(text: str) -> list[str]:
    if not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",")] if text.strip() else []
    try:
        items = json.loads(text, parse_float=WrittenFloat)
    except ValueError:
        raise ValueError(f"{text!r} is neither a JSON list nor a list with commas") from None
    return [item if isinstance(item, str) else json.dumps(item, default=repr) for item in items]


def _put(data: dict[str, object], place: Place, value: object) -> str:
    """Sets one value and creates missing tables; returns the problem, or an empty text."""
    node: object = data
    for part, following in zip(place, (*place[1:], None), strict=True):
        fresh: object = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(node, list) and isinstance(part, int):
            if part > len(node):
                return f"position {part} does not follow the {len(node)} entries before it"
            if part == len(node):
                node.append(fresh)
        elif isinstance(node, dict):
            node.setdefault(part, fresh)
        else:
            return "the file holds something else there"
        if following is None:
            node[part] = value  # type: ignore[index]
        else:
            node = node[part]  # type: ignore[index]
    return ""


def _file_leaves(node: object, place: Place) -> Iterator[Place]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _file_leaves(value, (*place, name))
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        for index, item in enumerate(node):
            yield from _file_leaves(item, (*place, index))
    else:
        yield place


def _leaves(node: object, place: Place) -> Iterator[Place]:
    if isinstance(node, BaseModel):
        for name in type(node).model_fields:
            yield from _leaves(getattr(node, name), (*place, name))
    elif isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, (*place, name))
    elif isinstance(node, tuple) and any(isinstance(item, BaseModel) for item in node):
        for index, item in enumerate(node):
            yield from _leaves(item, (*place, index))
    elif isinstance(node, str | int | Decimal | datetime | Path | tuple | None):
        yield place


def _secret_names(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name.endswith("_env") and isinstance(value, str):
                yield value
            yield from _secret_names(value)
    elif isinstance(node, list):
        for item in node:
            yield from _secret_names(item)
