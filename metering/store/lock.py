"""The store's own lock file: one writer at a time, and which process it is. Imports little: a second writer fails fast.

DuckDB's own lock is not enough: closing any handle of the file in the writer's process releases it.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metering.core.errors import MeteringError, StoreBusyError

PATIENCE_SECONDS = 0.2
_HAS_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Holds the lock file; raises StoreBusyError, naming the holder, within a second."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / "lock"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        _take(descriptor, path)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def shared(path: Path, patience_seconds: float) -> Iterator[None]:
    """Holds a lock file that stores of several machines may take; where the file system has no locks, nothing.

    Raises MeteringError where somebody else has it for longer, OSError where the file cannot be made.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        until = time.monotonic() + patience_seconds
        while not _is_taken(descriptor):
            if time.monotonic() >= until:
                hint = "the next command that writes goes on with it"
                raise MeteringError(f"another process writes to {path.parent}", hint=hint)
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _is_taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _HAS_NO_LOCKS:
            raise
    return True


def refuse_if_held(directory: Path, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Raises StoreBusyError if another process holds the lock; creates nothing."""
    path = directory / "lock"
    if not path.exists():
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        _take(descriptor, path, patience_seconds)
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, patience_seconds: float = PATIENCE_SECONDS) -> None:
    until = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.05)
                continue
            text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            holder = int(text) if text.isdigit() else 0
            raise StoreBusyError(
                f"process {holder} holds the store ({path})",
                process_id=holder,
                hint="wait for it to end; reading commands work meanwhile",
            ) from None
        else:
            return
