"""Standard streams that can be closed, full, or of another encoding than UTF-8, without harm to what a command does.

Standard output is data: if it cannot be written, the command fails. Standard error is for people: what cannot be
written there is lost, and changes neither the work nor the exit code.
"""

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from metering.core.errors import MeteringError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_OF_INPUT, _OF_OUTPUT, _OF_ERRORS = range(3)


class OutputError(MeteringError):
    """Standard output could not be written; what the command had to store is stored."""


class _Output(io.FileIO):
    """Standard output, whose failures have a name. A reader that hangs up is no failure (BrokenPipeError)."""

    def write(self, data: "Buffer", /) -> int:
        """Writes, or raises OutputError."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            hint = "what the command had to store is stored; only what it says is missing"
            raise OutputError(f"standard output cannot be written: {error.strerror}", hint=hint) from None


class _Errors(io.FileIO):
    """Standard error, which loses what it cannot write."""

    def write(self, data: "Buffer", /) -> int:
        """Writes as far as possible."""
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def prepare() -> None:
    """Opens what is closed, so that no file of the store gets the number of a standard stream; UTF-8 but on a terminal.

    Streams that somebody has put in place of the process's own stay as they are.
    """
    if sys.stdin is None:
        _fill(_OF_INPUT, os.O_RDONLY)
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(_OF_INPUT, closefd=False)))
    if sys.stdout is None:
        _fill(_OF_OUTPUT, os.O_RDONLY)  # a write fails: the data would be lost
    if sys.stderr is None:
        _fill(_OF_ERRORS, os.O_WRONLY)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Output(_OF_OUTPUT, "w", closefd=False), sys.stdout, line_buffering=False)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Errors(_OF_ERRORS, "w", closefd=False), sys.stderr, line_buffering=True)


def give_up_output() -> None:
    """Points standard output to nowhere, so that the interpreter's last flush does not fail again."""
    with suppress(OSError):
        _fill(_OF_OUTPUT, os.O_WRONLY)


def _fill(number: int, how: int) -> None:
    opened = os.open(os.devnull, how)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)


def _text(raw: io.FileIO, before: TextIO | None, *, line_buffering: bool) -> io.TextIOWrapper:
    """A terminal shows its own encoding; a file, a pipe and a log get UTF-8 whatever the locale."""
    encoding = before.encoding if before is not None and before.isatty() else "utf-8"
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace", line_buffering=line_buffering)
