"""Copies files that only grow: appends new bytes durably, or replaces a copy as a whole.

Must not know their content.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from metering.core.files import copy_durably, sync_directory

_CHUNK_BYTES = 1024 * 1024


def append(source: Path, copy: Path, begin: int, end: int, goes_on: Callable[[], bool] = lambda: True) -> bool:
    """Copies bytes [begin, end) of a file durably to the same place in its copy; returns whether all were copied.

    Earlier bytes of the copy behind `begin` are cut off. Raises OSError, also if the copy is shorter than `begin`.
    """
    is_new = not copy.exists()
    with source.open("rb") as old, os.fdopen(os.open(copy, os.O_CREAT | os.O_WRONLY, 0o600), "wb", 0) as new:
        if os.fstat(new.fileno()).st_size < begin:
            raise OSError(errno.EIO, f"is shorter than the {begin} bytes that were written to it", str(copy))
        old.seek(begin)
        new.seek(begin)
        new.truncate()
        while (at := old.tell()) < end:
            if not goes_on():
                return False
            chunk = memoryview(old.read(min(_CHUNK_BYTES, end - at)))
            if not chunk:
                raise OSError(errno.EIO, f"ends before byte {end}", str(source))
            while chunk:
                chunk = chunk[new.write(chunk) :]
        os.fsync(new.fileno())
    if is_new:
        sync_directory(copy.parent)
    return True


def write_at(path: Path, begin: int, content: bytes) -> None:
    """Writes durably behind the first `begin` bytes of a file; earlier bytes behind them are cut off."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb", 0) as file:
        file.seek(begin)
        file.truncate()
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    sync_directory(path.parent)


def cut(path: Path, length: int) -> None:
    """Truncates a file to `length` bytes, durably."""
    with path.open("r+b") as file:
        file.truncate(length)
        os.fsync(file.fileno())


def replace(source: Path, copy: Path) -> None:
    """Replaces a copy by a new one, by rename once that is durable."""
    temporary = copy.with_suffix(".tmp")
    copy_durably(source, temporary)
    temporary.replace(copy)
    sync_directory(copy.parent)


def bytes_before(path: Path, end: int, count: int) -> bytes:
    """The `count` bytes before `end`; fewer if the file is shorter, none if it does not exist."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, end - count))
            return file.read(min(end, count))
    except FileNotFoundError:
        return b""
