"""Documents: how many invoices become PDF per second in one process, and how much memory that takes.

    python benchmarks/documents.py [--invoices 10000]

Each invoice has one to three projects with a base fee and three meters, what was used beside what was billed, and two
charts of 30 days; names are in Latin, Greek and Cyrillic letters. The baseline is an empty page with one word, set by
the same typesetter in the same run: what Typst takes for any PDF at all. No file is written. Seconds of processor time
stand beside those on the wall, since they hold on a busy machine.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import fleet

from metering.core.invoice import converted
from metering.invoicing.printed.documents import invoice_pdf
from metering.invoicing.printed.sheet_usage import Background
from metering.rendering.typeset import Typesetter

MONTH = {"start": "2026-09-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"}
AS_OF = "2026-10-03T00:00:00Z"
METERS = {"compute": ("CU-hour", "0.16"), "storage": ("GB-month", "0.35"), "public_transfer": ("GB", "0.10")}
NAMES = ("Northwind Analytics", "Harbour & Sons", "Ελληνική Εταιρεία", "Українська компанія", "Société d’Épices")
Took = tuple[float, float]
"""Seconds on the wall, seconds of processor time."""
EMPTY_PAGES = 300
STEPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--invoices", type=int, default=10_000)
    given = parser.parse_args()
    typesetter = Typesetter()
    made_at = datetime(2026, 10, 3, tzinfo=UTC)
    typesetter.pdf("blank.typ", {"title": "Blank"}, made_at)  # fonts and template are read once
    base = _timed(lambda: [typesetter.pdf("blank.typ", {"title": f"Blank {at}"}, made_at) for at in range(EMPTY_PAGES)])
    base = base[0] / EMPTY_PAGES, base[1] / EMPTY_PAGES
    print(f"{'':28}{'per second':>11}{'ms':>8}{'ratio':>7}{'processor ms':>14}{'ratio':>7}")
    _print("an empty page, the baseline", base, base)
    measure(typesetter, given.invoices, base)


def measure(typesetter: Typesetter, count: int, base: Took) -> None:
    """Prints a line for each tenth, so that a slow leak would be seen."""
    chance = random.Random(7)
    sizes: list[int] = []
    wall = processor = 0.0
    for step in range(STEPS):
        numbers = range(count * step // STEPS, count * (step + 1) // STEPS)
        took = _timed(lambda numbers=numbers: sizes.extend(len(_made(typesetter, chance, at)) for at in numbers))
        wall, processor = wall + took[0], processor + took[1]
        memory = f"{fleet.peak_megabytes()} MB at most so far"
        _print(f"up to {numbers.stop} invoices", (took[0] / len(numbers), took[1] / len(numbers)), base, memory)
    _print(f"{count} invoices", (wall / count, processor / count), base)
    print(f"{sum(sizes) / count / 1024:.0f} kB each, peak memory {fleet.peak_megabytes()} MB")


def _timed(work: Callable[[], object]) -> Took:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def _print(what: str, each: Took, base: Took, more: str = "") -> None:
    wall, processor = each
    print(
        f"{what:28}{1 / wall:11.1f}{wall * 1000:8.1f}{wall / base[0]:7.1f}{processor * 1000:14.1f}"
        f"{processor / base[1]:7.1f}   {more}".rstrip(),
        flush=True,
    )


def _made(typesetter: Typesetter, chance: random.Random, number: int) -> bytes:
    projects = [f"calm-dawn-{number:08d}-{at}" for at in range(chance.choice((1, 1, 1, 2, 3)))]
    lines = [line for project in projects for line in _lines(chance, project)]
    subtotal = sum(int(line["amount"].replace(".", "")) for line in lines)
    tax = (subtotal * 21 + 50) // 100
    customer = f"cust{number}"
    invoice = {
        **{"number": f"INV-2026-{number:06d}", "status": "final", "currency": "USD", "period": MONTH},
        **{"customer": {"id": customer, "name": f"{chance.choice(NAMES)} {number}"}},
        **{"issued_at": AS_OF, "due_at": "2026-11-02T00:00:00Z", "lines": lines, "subtotal": _cents(subtotal)},
        **{"taxes": [{"name": "VAT", "rate_percent": "21", "base": _cents(subtotal), "amount": _cents(tax)}]},
        **{"total": _cents(subtotal + tax), "coverage": {"hours": 720, "covered_hours": 720, "complete": True}},
        **{"as_of": AS_OF, "rate_card_sha256": "9f2c" * 16},
    }
    days = [_days(chance, meter) for meter in ("compute", "storage")]
    background = Background(
        seller={"name": "Acme Platforms Ltd", "address": "1 Example Street", "country": "BE", "tax_id": "BE0123456749"},
        customers={customer: {"id": customer, "address": f"{number} Market Square\n2000 Sample"}},
        usage={customer: list(_usage(lines))},
        days=lambda _: days,
    )
    return invoice_pdf(converted(invoice), background, typesetter)


def _lines(chance: random.Random, project: str) -> Iterator[dict[str, Any]]:
    common = {"project_id": project, "plan": "pro", "from": MONTH["start"], "to": MONTH["end"], "grain": "hourly"}
    yield {
        **{"key": f"{project}/base_fee", "kind": "base_fee", "meter": None, "description": "Pro", **common},
        **{"quantity": "1", "unit": "month", "unit_price": "20.00", "amount": "20.00"},
    }
    for meter, (unit, price) in METERS.items():
        quantity = f"{chance.randrange(1000)}.{chance.randrange(1, 10**12):012d}"
        yield {
            **{"key": f"{project}/{meter}", "kind": "usage", "meter": meter, "description": meter.title(), **common},
            **{"quantity": quantity, "unit": unit, "unit_price": price, "amount": _cents(chance.randrange(20_000))},
        }


def _usage(lines: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line["meter"]:
            yield {name: line[name] for name in ("project_id", "meter", "unit", "quantity")}


def _days(chance: random.Random, meter: str) -> dict[str, Any]:
    days = [
        {"day": f"2026-09-{day:02d}", "quantity": str(chance.randrange(100)), "has_gap": False} for day in range(1, 31)
    ]
    return {"meter": meter, "unit": METERS[meter][0], "days": days}


def _cents(value: int) -> str:
    return f"{value // 100}.{value % 100:02d}"


if __name__ == "__main__":
    main()
