"""The store's own lock file: one writer at a time, and which process it is. Imports little: a second writer fails fast.

DuckDB's own lock is not enough: closing any handle of the file in the writer's process releases it. The first
line of the file is the process id of the last holder; the second is a remark that holders leave for one another.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metering.core.errors import StoreBusyError

LOCK = "lock"
PATIENCE_SECONDS = 0.2
_MOST_BYTES = 512


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Holds the lock file; raises StoreBusyError, naming the holder, within a second."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / LOCK
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        _take(descriptor, path)
        _write(descriptor, f"{os.getpid()}".encode(), _lines(descriptor)[1])
        yield
    finally:
        os.close(descriptor)


def refuse_if_held(directory: Path) -> None:
    """Raises StoreBusyError if another process holds the lock; creates nothing."""
    path = directory / LOCK
    if not path.exists():
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        _take(descriptor, path)
    finally:
        os.close(descriptor)


def remark(directory: Path) -> bytes:
    """The remark that the last holder left; empty where none did. Raises OSError where there is no lock file."""
    descriptor = os.open(directory / LOCK, os.O_RDONLY)
    try:
        return _lines(descriptor)[1]
    finally:
        os.close(descriptor)


def set_remark(directory: Path, text: bytes) -> None:
    """Leaves a remark of one line, durably; the caller holds the lock."""
    descriptor = os.open(directory / LOCK, os.O_RDWR)
    try:
        _write(descriptor, _lines(descriptor)[0], text)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lines(descriptor: int) -> tuple[bytes, bytes]:
    first, _, rest = os.pread(descriptor, _MOST_BYTES, 0).partition(b"\n")
    return first, rest.strip()


def _write(descriptor: int, holder: bytes, text: bytes) -> None:
    """Writes both lines at once: less than a sector, which a power cut leaves old or new."""
    content = b"".join(line + b"\n" for line in (holder, text) if line)
    os.pwrite(descriptor, content, 0)
    os.ftruncate(descriptor, len(content))


def _take(descriptor: int, path: Path) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.05)
                continue
            text = _lines(descriptor)[0].decode(errors="replace").strip()
            holder = int(text) if text.isdigit() else 0
            raise StoreBusyError(
                f"process {holder} holds the store ({path})",
                process_id=holder,
                hint="wait for it to end; reading commands work meanwhile",
            ) from None
        else:
            return
