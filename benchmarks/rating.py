"""Rating: how long an exact month takes, from the store's table to charges, invoices and their JSON.

    python benchmarks/rating.py [--projects 30000] [--repeat 3] [--directory DIR]

The baseline is DuckDB's bare sum over the eight columns of the same table in the same run, and every ratio is against
it. Charges are exact fractions, one per project, meter, price version, segment and tier: a third of the projects has no
prices, a third a price change in mid month, a third an allowance per hour, and 3 % change their plan inside the month.
`processor` ratios hold on a busy machine, where wall time does not.
"""

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import fleet

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.core.meters import KNOWN_METRICS
from metering.invoicing.drafts import draft_invoices
from metering.store.database import Store

Found = TypeVar("Found")
Took = tuple[float, float]
"""Seconds on the wall, seconds of processor time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--projects", type=int, default=30_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="keep the fleet here, and use it again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = given.directory or Path(temporary)
        if not (directory / "config.toml").exists():
            directory.mkdir(parents=True, exist_ok=True)
            _, seconds = fleet.timed(lambda: fleet.build(directory, given.projects))
            print(f"fleet of {given.projects} projects made in {seconds:.0f} s")
        store = fleet.opened(directory)
        try:
            measure(store, directory, given.repeat)
        finally:
            store.connection.close()
    print(f"peak memory {fleet.peak_megabytes()} MB, making the fleet included")


def measure(store: Store, directory: Path, repeat: int) -> None:
    """Prints what each stage takes: the best of so many runs, stages and baseline in turn."""
    config = fleet.read_config(directory)
    rows = store.connection.execute("select count(*) from observation").fetchall()[0][0]
    values = rows * fleet.METRICS
    scan = "select " + ", ".join(f"sum({metric})" for metric in KNOWN_METRICS) + " from observation"
    best: dict[str, Took] = {}
    for _ in range(repeat):
        _keep(best, "bare sum", lambda: store.connection.execute(scan).fetchall())
        month = Month(recorded=Recorded(store=store), terms=terms.of(config), period=fleet.MONTH, now=fleet.NOW)
        said = _rate(month, best)
    print(f"{rows} rows, {values} values, {said}")
    base = best.pop("bare sum")
    print(f"{'':30}{'seconds':>9}{'ratio':>9}{'processor s':>13}{'ratio':>9}{'values/s':>16}")
    _print("DuckDB's bare sum", base, base, values)
    wall = processor = 0.0
    for name, (seconds, busy) in best.items():
        wall, processor = wall + seconds, processor + busy
        _print(f"… to {name}", (wall, processor), base, values)


def _rate(month: Month, best: dict[str, Took]) -> str:
    _keep(best, "sums per project and metric", lambda: month.usage.sums)
    _keep(best, "exact charges", lambda: month.charges)
    drafts = _keep(best, "invoices", partial(draft_invoices, month))
    text = _keep(best, "their JSON", lambda: json.dumps(drafts, ensure_ascii=False))
    return f"{month.charges.height} charges, {len(drafts)} invoices, {len(text)} bytes"


def _keep(best: dict[str, Took], name: str, work: Callable[[], Found]) -> Found:
    gc.collect()
    begun, busy = time.perf_counter(), time.process_time()
    found = work()
    took = (time.perf_counter() - begun, time.process_time() - busy)
    best[name] = min(took, best.get(name, took))
    return found


def _print(name: str, took: Took, base: Took, values: int) -> None:
    (wall, processor), (base_wall, base_processor) = took, base
    ratios = f"{wall:9.2f}{wall / base_wall:9.1f}{processor:13.2f}{processor / base_processor:9.1f}"
    print(f"{name:30}{ratios}{values / wall:16,.0f}")


if __name__ == "__main__":
    main()
