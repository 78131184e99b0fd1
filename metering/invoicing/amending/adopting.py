"""How a store goes on by a person's word: behind every number that was given out, here or anywhere else.

Writes one journal record; must not decide whether the person is right.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from string import Formatter

from metering.core.errors import MeteringError, UsageError
from metering.core.invoice import Printed
from metering.invoicing.amending.voiding import NUMBER
from metering.ledger import lineage
from metering.ledger.ledger import Ledger
from metering.store import witness


def adopt(ledger: Ledger, *, is_compared: bool, is_clock: bool, seen: Iterable[tuple[str, int]]) -> Printed:
    """Journals the word; `seen` are (series, number) that were given out elsewhere. Returns the JSON object.

    Raises MeteringError where there is nothing to adopt.
    """
    kind = lineage.CLOCK if is_clock else lineage.WITNESS
    found = [one for one in ledger.obstacles() if one.kind == kind]
    if not found:
        raise MeteringError("nothing stops this store", hint="`metering status` lists what does")
    own = lineage.numbers(ledger.store)
    behind = {series: last for series, last in _highest([*_testified(ledger), *seen]) if last > own.get(series, 0)}
    ledger.adopt(behind, is_compared=is_compared, is_clock=is_clock)
    return {
        "adopted": [one.what for one in found],
        "epoch": lineage.of(ledger.store).epoch,
        "numbers_go_on_behind": {series: str(last) for series, last in sorted({**own, **behind}.items())},
    }


def series_of(number: str, pattern: str) -> tuple[str, int]:
    """Series and position of a number as it is printed; `pattern` is that of invoices. Raises UsageError."""
    for series, form in (("invoice", pattern), ("credit_note", NUMBER)):
        if found := re.fullmatch(_expression(form), number):
            parts = found.groupdict()
            return f"{series} {parts['year']}", int(parts["number"])
    raise UsageError(
        f"{number[:40]!r} is no number of an invoice or credit note", hint=f"they are {pattern} and {NUMBER}"
    )


def _expression(form: str) -> str:
    """The pattern as a regular expression; where it names no year, any."""
    digits = {"year": r"(?P<year>\d{4})", "number": r"(?P<number>\d+)", None: ""}
    return "".join(re.escape(text) + digits[name] for text, name, _, _ in Formatter().parse(form))


def _testified(ledger: Ledger) -> Iterator[tuple[str, int]]:
    """The last numbers that the witness knows."""
    if ledger.witness is not None and ledger.witness.exists():
        with suppress(MeteringError), witness.held(ledger.witness) as one:
            said = one.says()
            yield from (said.numbers if said else {}).items()


def _highest(numbers: Iterable[tuple[str, int]]) -> Iterable[tuple[str, int]]:
    out: dict[str, int] = {}
    for series, last in numbers:
        out[series] = max(last, out.get(series, 0))
    return out.items()
