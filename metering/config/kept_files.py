"""Finds the files that a configuration names, for the backup. Files of secrets are never among them.

Finds them by the type of the settings, so a new setting needs no change here. Must not copy anything.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

_FONTS = {".otf", ".ttc", ".ttf", ".woff", ".woff2"}
"""The only files that are backed up from a directory."""


def kept_files(config: BaseModel, path: Path, places: set[str]) -> dict[str, Path]:
    """Name -> path of the configuration's file and the files that it names; names below its directory are relative.

    `places`: tables whose paths are written to, not read. A setting X_file beside a setting X_env names a secret, whose
    file is left out even if another setting names it too.
    """
    sections = [getattr(config, name) for name in type(config).model_fields if name not in {*places, "path"}]
    named = [one for section in sections for one in _paths(section)]
    secrets = {found.resolve() for found, is_secret in named if is_secret}
    files = [path, *(file for found, is_secret in named if not is_secret for file in _files(found))]
    return {_name(file, path.parent): file for file in files if file.resolve() not in secrets}


def _name(file: Path, base: Path) -> str:
    file = Path(os.path.normpath(file))
    return str(file.relative_to(base) if file.is_relative_to(base) else file)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix.lower() in _FONTS and file.is_file())
    return [path] if path.is_file() else []


def _paths(value: object) -> Iterator[tuple[Path, bool]]:
    """(path, whether it is the file of a secret) for each path in a value."""
    if isinstance(value, BaseModel):
        names = type(value).model_fields
        for name in names:
            is_secret = name.endswith("_file") and f"{name.removesuffix('_file')}_env" in names
            yield from ((path, is_secret or inner) for path, inner in _paths(getattr(value, name)))
    elif isinstance(value, tuple):
        for inner in value:
            yield from _paths(inner)
    elif isinstance(value, Path):
        yield value, False
