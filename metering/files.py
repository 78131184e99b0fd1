"""Where `sql/`, `reports/` and the commented `config.toml` live; how a file is written whole.

Beside the package in a checkout, inside it in an installed wheel.
"""

import os
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


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


def write_whole(path: Path, content: bytes) -> None:
    """Puts a file in place whole and durable, readable by its owner alone: a reader sees the old one or the new one."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
