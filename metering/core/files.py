"""Where `sql/`, `reports/` and the commented `config.toml` live; how a user's file is read, and a file written whole.

Beside the package in a checkout, inside it in an installed wheel.
"""

import errno
import fcntl
import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from metering.core.errors import ConfigError, Fault, UsageError

_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
"""How file systems say that a directory cannot be synced; EIO says that something was lost."""
_TEMPORARY = re.compile(r"\.[a-z0-9_]{8}\.tmp")
_PACKAGE = Path(__file__).resolve().parents[1]


def data_directory(name: str) -> Path:
    """The directory `sql` or `reports`; asserts that it exists, since a wheel always carries both."""
    inside, beside = _PACKAGE / name, _PACKAGE.parent / name
    directory = inside if inside.is_dir() else beside
    assert directory.is_dir(), f"the installation lacks {name}/"
    return directory


def data_file(name: str) -> Path:
    """A file that stands at the top of a checkout, and inside the package in an installed wheel."""
    inside, beside = _PACKAGE / name, _PACKAGE.parent / name
    file = inside if inside.is_file() else beside
    assert file.is_file(), f"the installation lacks {name}"
    return file


def database_refuses(path: Path) -> str:
    """Why the database cannot keep a file below this directory; empty if it can. It reads patterns and addresses."""
    text = str(path)
    if odd := sorted(set(text) & set("*?\\")):
        return f"{text} holds {' and '.join(odd)}, which the database does not take for a letter of a name"
    return "" if text.encode(errors="ignore") == os.fsencode(path) else f"{text!r} is not UTF-8"


def given_text(path: Path) -> str:
    """A text file that a command names. Raises UsageError where it is not there, ConfigError where it is no UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError([not_utf8(str(path), error)]) from None


def not_utf8(name: str, error: UnicodeDecodeError) -> Fault:
    """What is wrong with a file that is no UTF-8, and in which line of it."""
    line = error.object.count(b"\n", 0, error.start) + 1
    return Fault(where=f"{name} line {line}", what="is not UTF-8", right="save the file as UTF-8")


def write_whole(path: Path, content: bytes) -> None:
    """Replaces a file atomically and durably, readable by its owner alone: a reader sees the old or the new file."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    except OSError as error:
        error.filename = str(path)  # not the temporary name, which tells nobody anything
        raise
    try:
        with os.fdopen(descriptor, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # as long as it is written, `sweep` leaves it alone
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def copy_durably(source: Path, target: Path) -> None:
    """A copy that survives a power cut, readable by its owner alone."""
    target.touch(mode=0o600)
    shutil.copyfile(source, target)
    with target.open("rb") as copy:
        os.fsync(copy.fileno())


def sweep(directory: Path) -> None:
    """Removes what processes that died had begun to write there by `write_whole`; what is being written stays."""
    for path in directory.glob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def sync_directory(directory: Path) -> bool:
    """Makes the directory's names durable (a new file is not, until its directory is synced).

    Returns False where the file system cannot do that for directories, as some of FUSE and of the network; raises
    OSError for anything else that goes wrong.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            error.filename = str(directory)
            raise
        return False
    finally:
        os.close(descriptor)
    return True
