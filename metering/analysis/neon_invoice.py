"""Neon's invoice as a CSV of its lines, read forgivingly about words and strictly about numbers.

Pure: text in, lines or every fault out. Knows the built-in meters by several names; computes no cost.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from metering.core import meters
from metering.core.errors import ConfigError, Fault
from metering.core.money import parse_decimal

CURRENCY = "USD"
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "organization": ("organization", "organization_id", "org", "org_id", "account"),
    "meter": ("meter", "metric", "item", "product", "description", "line", "line_item", "usage_type", "service"),
    "quantity": ("quantity", "usage", "units", "amount_used"),
    "amount": ("amount", "amount_usd", "cost", "cost_usd", "charge", "total", "total_usd", "subtotal"),
}
"""Our name of a column -> how its header may be written, without regard to case, blanks and punctuation."""
_WORDS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("instant_restore", ("restore", "history", "pitr")),
    ("snapshots", ("snapshot",)),
    ("extra_branches", ("extra",)),
    ("storage_root", ("root",)),
    ("storage_child", ("child",)),
    ("extra_branches", ("branches",)),
    ("storage", ("storage",)),
    ("private_transfer", ("private",)),
    ("public_transfer", ("transfer", "egress")),
    ("compute", ("compute", "cu hour", "cu-hour")),
)
"""Words that name a meter, the telling ones first."""
_SUMS = ("total", "subtotal", "amount due", "grand total")


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One line of Neon's. `meter` is null where its words name none of ours; an organization may be unnamed."""

    organization: str | None
    meter: str | None
    words: str
    quantity: Decimal | None
    cents: int


def parse(text: str, name: str) -> list[InvoiceLine]:
    """The lines of a CSV; `name` is the file's, for faults. Lines that are sums of others are left out.

    Needs a column for the amount and one for what it is for. Raises ConfigError with every fault.
    """
    rows = list(csv.reader(io.StringIO(text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")), delimiter=_separator(text)))
    columns = _header(rows[0] if rows else [], name)
    faults: list[Fault] = []
    out: list[InvoiceLine] = []
    for number, cells in enumerate(rows[1:], start=2):
        if any(cell.strip() for cell in cells) and (line := _line(cells, columns, f"{name} line {number}", faults)):
            out.append(line)
    if not out and not faults:
        faults.append(Fault(where=name, what="holds no line", right="write a line for each amount under the header"))
    if faults:
        raise ConfigError(faults)
    return out


def _separator(text: str) -> str:
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count)


def _header(cells: Sequence[str], name: str) -> dict[str, int]:
    """Our column -> its place."""
    said = [re.sub(r"[^a-z0-9]+", "_", cell.lower()).strip("_") for cell in cells]
    found = {
        column: min(said.index(word) for word in words if word in said)
        for column, words in _COLUMNS.items()
        if any(word in said for word in words)
    }
    faults = [
        Fault(
            where=f"{name} line 1",
            what=f"no column is the {column}",
            right=f"name one of: {', '.join(_COLUMNS[column])}",
        )
        for column in ("meter", "amount")
        if column not in found
    ]
    if faults:
        raise ConfigError(faults)
    return found


def _line(cells: Sequence[str], columns: Mapping[str, int], where: str, faults: list[Fault]) -> InvoiceLine | None:
    told = {column: cells[place].strip() if place < len(cells) else "" for column, place in columns.items()}
    words = told["meter"]
    if words.lower().rstrip(":") in _SUMS:
        return None
    try:
        cents = cents_of(told["amount"])
        quantity = parse_decimal(_bare(told["quantity"])) if told.get("quantity") else None
    except ValueError as error:
        faults.append(Fault(where=where, what=str(error), right="write amounts like 1234.56"))
        return None
    return InvoiceLine(
        organization=told.get("organization") or None,
        meter=meter_of(words),
        words=words,
        quantity=quantity,
        cents=cents,
    )


def cents_of(text: str) -> int:
    """An amount in US dollars, perhaps with its sign, `$`, `USD` or thousands commas, in cents.

    Raises ValueError for anything else, and for parts of a cent.
    """
    bare = _bare(text)
    number = parse_decimal(bare, signed=True) * 100
    if number != number.to_integral_value():
        raise ValueError(f"{text[:40]!r} has parts of a cent")
    return int(number)


def _bare(text: str) -> str:
    """The number without what people write around it: `$ 1,234.56` is 1234.56, `(5.00)` is -5.00."""
    bare = re.sub(r"[$\s]|USD", "", text)
    if re.fullmatch(r"\(.+\)", bare):
        bare = "-" + bare[1:-1]
    return bare.replace(",", "") if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", bare) else bare


def meter_of(words: str) -> str | None:
    """The built-in meter that the words name: its id, one of its metrics, or as an invoice would say it."""
    plain = words.strip().lower()
    for meter in meters.built_in():
        if plain == meter.id or (plain in meter.metrics and len(meter.metrics) == 1):
            return meter.id
    return next((meter for meter, said in _WORDS if any(word in plain for word in said)), None)
