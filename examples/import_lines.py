"""Invoice lines for a system of your own: JSON of `metering invoices MONTH` in, one row per line out.

Amounts are decimal strings; a float would lose cents. The importer refuses a document whose lines do not add up.

    metering invoices 2026-09 --format json | python examples/import_lines.py > lines.csv
"""

import csv
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TextIO

COLUMNS = ("number", "customer", "currency", "project", "kind", "description", "amount")


def lines(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for every line of a final document, in COLUMNS."""
    rows = document["lines"]
    if sum((Decimal(line["amount"]) for line in rows), Decimal(0)) != Decimal(document["subtotal"]):
        raise ValueError(f"{document['number']}: its lines do not add up to {document['subtotal']}")
    for line in rows:
        yield (
            document["number"],
            document["customer"]["id"],
            document["currency"],
            line.get("project_id") or "",
            line["kind"],
            line["description"],
            line["amount"],
        )


def convert(source: TextIO, target: TextIO) -> int:
    """Writes the lines of all final documents as CSV; says how many."""
    out = csv.writer(target)
    out.writerow(COLUMNS)
    found = [row for one in json.load(source)["invoices"] if one["number"] for row in lines(one)]
    out.writerows(found)
    return len(found)


if __name__ == "__main__":
    print(f"{convert(sys.stdin, sys.stdout)} lines", file=sys.stderr)
