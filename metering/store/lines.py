"""The layout of a continuous backup: one directory ("line") per epoch, with a manifest that says how far it is valid.

    DIR/line-first/manifest.json        what of the line is valid; replaced by rename, last of all
    DIR/line-first/journal/             segments and checkpoints as in a store, and the mark of a backup
    DIR/line-first/configuration/       config.toml and the files that it names, by hash; log.jsonl: when each counted
    DIR/line-1f2e3d4c/                  the same of a store that was restored: epoch 1f2e3d4c

Bytes behind the valid length were never acknowledged and are ignored. Copies nothing.
"""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import zstandard

from metering.core.errors import MeteringError
from metering.core.files import write_whole

MANIFEST = "manifest.json"
CONFIGURATION = "configuration"
LOG = "log.jsonl"
_PREFIX = "line-"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """How far a line is valid.

    `turn` counts the writes to all lines of a directory: the highest is the line that was written last. `origin` is
    the hash of record 1. The segment named `segment` is valid up to `length` bytes (-1: all of it), those before it
    are wholly valid. `log_length` bytes of the log of configurations are valid; `files` is its last entry.
    """

    origin: str
    began_at: str
    written_at: str
    turn: int = 0
    records: int = 0
    latest_at: str = ""
    segment: str = ""
    length: int = 0
    log_length: int = 0
    files: dict[str, str] = {}


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration files that are valid from the record `since` on, first seen at `at`: name -> SHA-256.

    The first one is config.toml itself.
    """

    at: str
    since: int
    files: dict[str, str]


Row = TypeVar("Row", Manifest, Configuration)


class _Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A written row with its hash."""

    sha256: str
    line: msgspec.Raw


def name_of(epoch: str) -> str:
    """The directory name of an epoch's line."""
    return f"{_PREFIX}{epoch or 'first'}"


def sealed(row: Manifest | Configuration) -> bytes:
    """A row as a line of JSON with its hash."""
    text = msgspec.json.encode(row)
    return msgspec.json.encode(_Sealed(sha256=hashlib.sha256(text).hexdigest(), line=msgspec.Raw(text))) + b"\n"


def _unsealed(content: bytes, path: Path, kind: type[Row]) -> Row:
    """The row of a line. Raises MeteringError if it was changed."""
    with suppress(msgspec.DecodeError):
        found = msgspec.json.decode(content, type=_Sealed)
        if hashlib.sha256(found.line).hexdigest() == found.sha256:
            return msgspec.json.decode(found.line, type=kind)
    hint = f"copy {path.parent / 'journal'} into an empty store directory by hand: its segments are whole"
    raise MeteringError(f"{path} is damaged", hint=hint)


def manifest_of(line: Path) -> Manifest | None:
    """The manifest of a line; None if there is none. Raises MeteringError if it is damaged, OSError."""
    try:
        content = (line / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _unsealed(content, line / MANIFEST, Manifest)


def write(line: Path, manifest: Manifest) -> None:
    """Replaces the manifest of a line durably; it is valid from here on."""
    write_whole(line / MANIFEST, sealed(manifest))


def lines_of(directory: Path) -> dict[Path, Manifest]:
    """The lines of a continuous backup with their manifests, the most recently written one last."""
    found = {path: manifest_of(path) for path in directory.glob(f"{_PREFIX}*")}
    kept = {path: manifest for path, manifest in found.items() if manifest is not None}
    return dict(sorted(kept.items(), key=lambda one: (one[1].turn, one[0])))


def keep(path: Path, directory: Path) -> str:
    """Copies a configuration file, compressed, under its SHA-256, which is returned."""
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    copy = directory / f"{sha256}.zst"
    if not copy.exists():
        write_whole(copy, zstandard.compress(content))
    return sha256


def kept(line: Path, sha256: str) -> bytes:
    """The content of a configuration file by its SHA-256. Raises MeteringError if it is damaged or missing."""
    path = line / CONFIGURATION / f"{sha256}.zst"
    try:
        content = zstandard.decompress(path.read_bytes())
    except (OSError, zstandard.ZstdError):
        content = b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise MeteringError(f"{path} is damaged or gone", hint="the journal is whole without the configuration")
    return content


def configurations(line: Path, manifest: Manifest) -> list[Configuration]:
    """Every logged configuration of the line, in order."""
    if not manifest.log_length:
        return []
    path = line / CONFIGURATION / LOG
    with path.open("rb") as file:
        text = file.read(manifest.log_length)
    return [_unsealed(row, path, Configuration) for row in text.splitlines()]
