"""The peer's half of peer.py: CloudKitty's hashmap module over the same points. Needs CloudKitty and nothing of ours.

    PYTHON benchmarks/peer_cloudkitty.py POINTS.csv RATES.json

POINTS.csv: hour,metric,project,value, in the order of hours. RATES.json: metric to the price of one raw unit, a string.
Prints JSON: points, seconds that `process` took (not reading, not making data points), total as a decimal string.
"""

import csv
import decimal
import json
import sys
import time
import warnings
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

warnings.simplefilter("ignore")

from cloudkitty import dataframe  # noqa: E402
from cloudkitty.rating.hash import HashMap  # noqa: E402


class Rates(HashMap):  # type: ignore[misc]
    """The module with its price list given, instead of read from a database: a flat price per service."""

    def __init__(self, rates: dict[str, str]) -> None:
        self._res = {}
        self._entries = {
            metric: {
                "mappings": {"_DEFAULT_": {"type": "flat", "cost": decimal.Decimal(cost)}},
                "thresholds": {},
                "fields": {},
            }
            for metric, cost in rates.items()
        }


def main() -> None:
    points, rates = (Path(name) for name in sys.argv[1:3])
    module = Rates(json.loads(rates.read_text()))
    decimal.getcontext().prec = 60
    count, seconds, total = 0, 0.0, decimal.Decimal(0)
    with points.open(newline="") as file:
        for hour, rows in groupby(csv.reader(file), key=lambda row: row[0]):
            start = datetime.fromtimestamp(int(hour), UTC)
            frame = dataframe.DataFrame(start=start, end=start + timedelta(hours=1))
            for _, metric, project, value in rows:
                frame.add_point(dataframe.DataPoint("raw", value, "0", {"project_id": project}, {}), metric)
                count += 1
            begun = time.perf_counter()
            rated = module.process(frame)
            seconds += time.perf_counter() - begun
            total += sum(point.price for _, point in rated.iterpoints())
    print(json.dumps({"points": count, "seconds": seconds, "total": f"{total:f}"}))


if __name__ == "__main__":
    main()
