"""Tables as CSV text and Parquet bytes."""

import io
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

import polars as pl

from metering.core.errors import ExactnessError
from metering.core.formulas import opened
from metering.core.rows import Row
from metering.core.text import visible

TEXT, NUMBER = "text", "number"


PARQUET_PLACES = 12
"""Parquet numbers are decimal(38, 12) in every month, so that months can be read together."""


_NUMBER_TEXT = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def cell(value: object) -> str | None:
    """A value as text of a cell: a list as its items with blanks between, a flag as `true` or `false`."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def csv_text(columns: Row, rows: Iterable[Row]) -> str:
    r"""RFC 4180 with a header and `\r\n`: text is quoted and guarded against formulas, numbers stand bare."""
    lines = [",".join(f'"{name}"' for name in columns)]
    lines += [",".join(_csv_cell(row[name], kind) for name, kind in columns.items()) for row in rows]
    return "\r\n".join(lines) + "\r\n"


def _csv_cell(value: str | None, kind: str) -> str:
    if value is None:
        return ""
    if kind == NUMBER and _NUMBER_TEXT.fullmatch(value):
        return value
    return '"' + opened(visible(value)).replace('"', '""') + '"'


def parquet_bytes(columns: Row, rows: Sequence[Row]) -> bytes:
    """A Parquet file: numbers as decimal(38, 12), texts as they are; ExactnessError for a number that does not fit."""
    series = [_series(name, kind, [row[name] for row in rows]) for name, kind in columns.items()]
    buffer = io.BytesIO()
    pl.DataFrame(series).write_parquet(buffer, compression="zstd", statistics=True)
    return buffer.getvalue()


def _series(name: str, kind: str, values: list[str | None]) -> pl.Series:
    if kind == TEXT:
        return pl.Series(name, [None if value is None else visible(value) for value in values], dtype=pl.String)
    numbers = [None if value is None else Decimal(value) for value in values]
    for number in numbers:
        if number is not None and not _fits(number):
            raise ExactnessError(
                f"{name} {number:f} does not fit decimal(38, {PARQUET_PLACES})",
                hint="take the CSV or JSON report, which hold any number",
            )
    return pl.Series(name, numbers, dtype=pl.Decimal(38, PARQUET_PLACES))


def _fits(number: Decimal) -> bool:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "a figure is finite"
    return -exponent <= PARQUET_PLACES and number.adjusted() < 38 - PARQUET_PLACES
