"""Writes an export's file: never over one that was made from more records, nor drafts over what is final.

Knows `exports.json` in the store directory, which says of each file what it was made from; a file that somebody changed
since is not ours any more. Must not know formats.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

import msgspec

from metering.core.errors import MeteringError
from metering.core.files import write_whole

KNOWN = "exports.json"


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a file is (format and month), the last record that it was made from, and whether drafts are in it.

    `sha256` is that of its bytes.
    """

    what: str
    seq: int
    is_draft: bool
    sha256: str = ""


def write(directory: Path, path: Path, content: bytes, made: Made) -> None:
    """Writes the file and notes what it was made from. Raises MeteringError where a better one stands, OSError."""
    name, known = str(path.resolve()), _known(directory)
    there = known.get(name)
    if there and there.what == made.what and path.is_file() and _sha256(path.read_bytes()) == there.sha256:
        _refuse_worse(path, there, made)
    write_whole(path, content)
    known[name] = msgspec.structs.replace(made, sha256=_sha256(content))
    with suppress(OSError):  # a reader of a directory that it may not write has exported all the same
        write_whole(directory / KNOWN, msgspec.json.format(msgspec.json.encode(known), indent=1) + b"\n")


def _refuse_worse(path: Path, there: Made, made: Made) -> None:
    if there.seq > made.seq:
        raise MeteringError(
            f"{path} was made from record {there.seq}, and this would be of record {made.seq}",
            hint="another process is writing: run it again when that has ended",
        )
    if made.is_draft and not there.is_draft:
        raise MeteringError(f"{path} is final, and this holds drafts", hint="write it to another file")


def _known(directory: Path) -> dict[str, Made]:
    try:
        return msgspec.json.decode((directory / KNOWN).read_bytes(), type=dict[str, Made])
    except (OSError, msgspec.DecodeError):
        return {}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
