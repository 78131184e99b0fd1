"""Where `sql/` and `reports/` live: beside the package in a checkout, inside it in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_directory(name: str) -> Path:
    """The directory `sql` or `reports`; asserts that it exists, since a wheel always carries both."""
    inside, beside = _PACKAGE / name, _PACKAGE.parent / name
    directory = inside if inside.is_dir() else beside
    assert directory.is_dir(), f"the installation lacks {name}/"
    return directory
