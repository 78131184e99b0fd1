"""Closing: a month of many invoices issued in one record; the readers' copy; quotas of the whole fleet in a tick.

    python benchmarks/closing.py [--projects 30000]

Every project has a customer of its own, and two of three get an invoice. Times are one run each; the baseline is
DuckDB's bare sum over the same table in the same run.
"""

import argparse
import tempfile
from datetime import timedelta
from pathlib import Path

import fleet

from metering.billing import terms
from metering.core.meters import KNOWN_METRICS
from metering.invoicing import close
from metering.ledger.ledger import Ledger
from metering.quotas import status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--projects", type=int, default=30_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        fleet.build(directory, given.projects)
        measure(directory)


def measure(directory: Path) -> None:
    config = fleet.read_config(directory)
    ledger, opening = fleet.timed(lambda: Ledger(directory, lambda: fleet.NOW))
    scan = "select " + ", ".join(f"sum({metric})" for metric in KNOWN_METRICS) + " from observation"
    _, base = min((fleet.timed(lambda: ledger.store.connection.execute(scan).fetchall()) for _ in range(3)), key=_took)

    def told(name: str, took: float, what: str) -> None:
        print(f"{name:34}{took:8.2f} s{took / base:8.1f} x   {what}")

    told("bare sum", base, "the baseline")
    told("opening journal and store", opening, "")
    thresholds = config.quota.thresholds_percent
    evening = fleet.MONTH.end - timedelta(minutes=30)
    ledger_terms = terms.of(config)
    reached, took = fleet.timed(
        lambda: status.quota_rows(status.running(ledger.store, ledger_terms, evening), thresholds, reached_only=True)
    )
    told(
        "quotas in a tick", took, f"{len(reached)} have reached a threshold, {fleet.peak_megabytes()} MB at most so far"
    )
    rows, took = fleet.timed(lambda: status.quota_rows(status.running(ledger.store, ledger_terms, evening), thresholds))
    told("quotas, every row", took, f"{len(rows)} rows")
    closing, took = fleet.timed(lambda: close.close(ledger, config, fleet.MONTH, fleet.NOW))
    told("close", took, f"{len(closing.issued)} invoices, {fleet.peak_megabytes()} MB at most so far")
    again, took = fleet.timed(lambda: close.close(ledger, config, fleet.MONTH, fleet.NOW))
    told("close again", took, f"{len(again.issued)} invoices")
    _, took = fleet.timed(ledger.close)
    size = (directory / "metering.duckdb").stat().st_size >> 20
    told("publishing the readers' copy", took, f"{size} MB")


def _took(measured: tuple[object, float]) -> float:
    return measured[1]


if __name__ == "__main__":
    main()
