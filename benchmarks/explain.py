"""Explaining one line out of a fleet's month, against DuckDB's bare scan of the same table in the same run.

The line is computed anew with every observation behind it, from what the store knew: nothing is prepared for it.

    .venv/bin/python benchmarks/explain.py [--projects 30000]
"""

import argparse
import tempfile
from pathlib import Path

import fleet

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.explain import evidence, explain
from metering.invoicing.drafts import draft_invoices


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--projects", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        fleet.build(Path(directory), asked.projects)
        config, store = fleet.read_config(Path(directory)), fleet.opened(Path(directory))

        def month() -> Month:
            return Month(recorded=Recorded(store=store), terms=terms.of(config), period=fleet.MONTH, now=fleet.NOW)

        document = max(draft_invoices(month()), key=lambda draft: len(draft.lines))
        line = max(document.lines, key=lambda line: line.meter == "compute")

        def told() -> dict[str, object]:
            one = month()
            with evidence.only(store, evidence.projects_of(one, document.customer.id)):
                return explain.line_of(one, document, line)

        statement = "select count(*), sum(compute_unit_seconds) from observation"
        scanned, base = min(
            (fleet.timed(lambda: store.connection.execute(statement).fetchall()) for _ in range(3)), key=_took
        )
        found, took = min((fleet.timed(told) for _ in range(3)), key=_took)
        ((rows, _),) = scanned
        assert found["agrees"]
        seen = found["observations"]
        assert isinstance(seen, list)
        print(f"{rows:,} rows of {fleet.METRICS} metrics, {rows * fleet.METRICS:,} values")
        print(f"bare scan of one metric: {base:.3f} s")
        print(f"one line with {len(seen)} observations: {took:.3f} s, {took / base:.1f} x the scan")


def _took(timed: tuple[object, float]) -> float:
    return timed[1]


if __name__ == "__main__":
    main()
