"""Side by side: the same points of a month rated by metering and by CloudKitty's hashmap module, on the same machine.

    python benchmarks/peer.py [--projects 300] [--cloudkitty PYTHON]

PYTHON is the interpreter of an environment in which `pip install cloudkitty` was run; without it only our half runs.
Every metric has one price per raw unit, the one thing that both can do: hashmap knows no allowance and no tiers over a
month. Ours goes from the store's table to exact charges and rounded invoices; theirs is timed from data points in
memory to priced points, without its collection, its database and its storage. Both totals must be the same number.
"""

import argparse
import json
import subprocess
import tempfile
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import fleet

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.core.meters import KNOWN_METRICS
from metering.invoicing.drafts import draft_invoices
from metering.store.database import Store

RATES = {
    "compute_unit_seconds": ("compute", "0.36", "0.0001"),
    "root_branch_bytes_month": ("storage_root", "0.35", "0.00000000035"),
    "child_branch_bytes_month": ("storage_child", "0.45", "0.00000000045"),
    "instant_restore_bytes_month": ("instant_restore", "0.20", "0.0000000002"),
    "snapshot_storage_bytes_month": ("snapshots", "0.09", "0.00000000009"),
    "public_network_transfer_bytes": ("public_transfer", "0.10", "0.0000000001"),
    "private_network_transfer_bytes": ("private_transfer", "0.01", "0.00000000001"),
    "extra_branches_month": ("extra_branches", "7.44", "0.01"),
}
"""Metric: its meter, our price in the meter's unit, the same price per raw unit."""

CONFIG = f"""
[[organizations]]
id = "{fleet.ORGANIZATION}"
api_key_env = "FLEET_API_KEY"
default_plan = "flat"

[[plans]]
id = "flat"
name = "Flat"
currency = "USD"
prices = [
""" + "".join(
    f'  {{ meter = "{meter}", valid_from = 2026-01-01, model = "per_unit", unit_price = "{price}" }},\n'
    for meter, price, _ in RATES.values()
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--projects", type=int, default=300)
    parser.add_argument("--cloudkitty", metavar="PYTHON", help="an interpreter that has CloudKitty")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        fleet.build(directory, given.projects)
        (directory / "config.toml").write_text(f'[store]\ndirectory = "{directory}"\n{CONFIG}]\n')
        store = fleet.opened(directory)
        try:
            values, seconds, total = ours(store, directory)
            print(f"metering     {values:>12,} values in {seconds:8.2f} s: {values / seconds:>14,.0f} a second")
            if given.cloudkitty:
                _write_points(store, directory)
                theirs(directory, given.cloudkitty, values / seconds, total)
            else:
                print("CloudKitty: not run; name an interpreter that has it with --cloudkitty")
        finally:
            store.connection.close()


def ours(store: Store, directory: Path) -> tuple[int, float, Fraction]:
    """Values rated, seconds from the table to invoices (the better of two runs), the exact total before rounding."""
    config = fleet.read_config(directory)
    rows = store.connection.execute("select count(*) from observation").fetchall()[0][0]
    best = float("inf")
    for _ in range(2):
        month = Month(recorded=Recorded(store=store), terms=terms.of(config), period=fleet.MONTH, now=fleet.NOW)
        begun = time.perf_counter()
        draft_invoices(month)
        best = min(best, time.perf_counter() - begun)
    exact = month.charges.select("amount_num", "amount_den").rows()
    return rows * fleet.METRICS, best, sum((Fraction(int(n), int(d)) for n, d in exact), Fraction(0))


def theirs(directory: Path, python: str, our_speed: float, our_total: Fraction) -> None:
    """Runs the peer on the points written before, and prints its speed, the ratio and whether the totals agree."""
    script = Path(__file__).with_name("peer_cloudkitty.py")
    command = [python, str(script), str(directory / "points.csv"), str(directory / "rates.json")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    said = json.loads(done.stdout)
    speed = said["points"] / said["seconds"]
    print(f"CloudKitty   {said['points']:>12,} values in {said['seconds']:8.2f} s: {speed:>14,.0f} a second")
    agrees = "yes" if Fraction(Decimal(said["total"])) == our_total else "NO"
    print(f"ratio {our_speed / speed:,.0f}; totals agree: {agrees}")


def _write_points(store: Store, directory: Path) -> None:
    columns = ", ".join(KNOWN_METRICS)
    points = directory / "points.csv"
    store.connection.execute(
        f"copy (select epoch(timeframe_start)::bigint as hour, metric, project_key, value from (unpivot (select"
        f" timeframe_start, project_key, {columns} from observation) on {columns} into name metric value value)"
        f" order by hour, metric, project_key) to '{points}' (format csv, header false)"
    )
    (directory / "rates.json").write_text(json.dumps({metric: raw for metric, (_, _, raw) in RATES.items()}))


if __name__ == "__main__":
    main()
