"""Usage of a month from the published snapshot: project, metric, value, for a notebook or a job of your own.

The snapshot is a DuckDB file that every cycle replaces; the views of docs/store.md are what is public in it. Values are
whole numbers, as Neon reports them.

    python examples/usage_from_snapshot.py var/snapshot.duckdb 2026-09
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

QUERY = """
select project_id, metric, sum(value) as value
from usage_day
where day_start >= $start and day_start < $end
group by all
order by all
"""


def usage(snapshot: Path, month: str) -> list[tuple[str, str, int]]:
    """(project, metric, value) of a month such as 2026-09."""
    start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    end = (start + timedelta(days=31)).replace(day=1)
    with duckdb.connect(str(snapshot), read_only=True) as store:
        rows = store.execute(QUERY, {"start": start, "end": end}).fetchall()
    return [(project, metric, int(value)) for project, metric, value in rows]


if __name__ == "__main__":
    for row in usage(Path(sys.argv[1]), sys.argv[2]):
        print(*row, sep=",")
