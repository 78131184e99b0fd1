"""Out of memory, out of file handles, out of threads: which error says so, and what to tell.

Each library says it in its own way: Python by MemoryError or OSError, the database by its own errors, polars by a panic
that is no Exception. Whoever runs a whole piece of work (a command, a job of the service, a page, a thread) runs it
`in_a_sentence`. Imports none of the libraries.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from metering.core.errors import DISK_HINT, MeteringError

MEMORY_HINT = "give it more memory, then run it again: what was acknowledged is safe, nothing is half done"
HANDLE_HINT = "raise the limit of open files (ulimit -n), then run it again: what was acknowledged is safe"
_HANDLES = re.compile("Too many open files", re.IGNORECASE)
_MEMORY = re.compile(
    "Out of Memory|OutOfMemory|Allocation failure|Cannot allocate memory|bad_alloc|failed to allocate"
    "|can't start new thread",
    re.IGNORECASE,
)
_PANIC = "PanicException"
"""What polars raises where Rust panics; it derives from BaseException."""


def hint_for(text: str) -> str:
    """What to do about a failed write or read of the disk, by the words of the error."""
    return HANDLE_HINT if _HANDLES.search(text) else MEMORY_HINT if _MEMORY.search(text) else DISK_HINT


def is_exhausted(error: BaseException) -> bool:
    """Whether the error says that memory, threads or file handles ran out: then nothing is damaged."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
    return isinstance(error, Exception) and bool(_HANDLES.search(str(error)) or _MEMORY.search(str(error)))


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """Turns an error that says that something ran out, or a panic, into a MeteringError with a hint."""
    try:
        yield
    except MeteringError:
        raise
    except BaseException as error:
        if type(error).__name__ != _PANIC and not is_exhausted(error):
            raise
        raise _told(error) from error


def _told(error: BaseException) -> MeteringError:
    first = next(iter(str(error).splitlines()), "")
    if type(error).__name__ == _PANIC:
        hint = "run it again; if it comes again, report it with the lines above"
        return MeteringError(f"a computation broke off: {first}", hint=hint)
    if isinstance(error, OSError):
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        first = f"{place}{error.strerror}"
        return MeteringError(first, hint=MEMORY_HINT if error.errno == errno.ENOMEM else HANDLE_HINT)
    what = "too many files are open" if _HANDLES.search(first) else "the memory ran out"
    return MeteringError(what + (f": {first}" if first else ""), hint=hint_for(first or "Out of Memory"))
