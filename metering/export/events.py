"""Usage as events: CloudEvents as OpenMeter takes them, and the batches of Lago's API.

An event is one project's usage of one metric in one bucket. Its id follows from what it counts and not from how
much, so that sending a bucket again changes nothing; only hours that are certified make events, because a value that
moves after it was sent would not be taken. Unassigned usage makes no event.

`counted` reads a month; the rest is pure.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from metering.billing.month import Month
from metering.billing.usage_document import usage
from metering.core.period import Period, parse_time

Json = dict[str, Any]

AT_ONCE = 100
"""Events in a batch: what Lago takes."""
TYPE = "metering.usage"
_DATA = (
    *("organization", "project_id", "customer", "plan", "metric", "value", "meter", "quantity", "unit"),
    *("start", "end"),
)


def counted(month: Month, by: str) -> list[Json]:
    """Rows of `usage MONTH --by hour|day` that make events: certified as a whole, each with its bucket's own payer."""
    covered = {organization: known.covered(month.period) for organization, known in month.knowledge.certified.items()}
    columns = ("project_id", "start", "end", "customer", "plan")
    payers: dict[str, list[tuple[datetime, datetime, str, str]]] = {}
    for project, *segment in month.segments.sort("project_id", "start").select(columns).iter_rows():
        payers.setdefault(project, []).append(tuple(segment))
    out = []
    rows: Iterator[Json] = (row.document() for row in usage(month, by=by).usage)
    for row in rows:
        bucket = Period(start=parse_time(row["start"]), end=parse_time(row["end"]))
        is_whole = any(part.start <= bucket.start and bucket.end <= part.end for part in covered[row["organization"]])
        # A bucket is its start's; where nobody pays then, the first's who begins inside it.
        owners = [
            found for found in payers.get(row["project_id"], ()) if bucket.start < found[1] and found[0] < bucket.end
        ]
        if is_whole and owners:
            out.append({**row, "customer": owners[0][2], "plan": owners[0][3]})
    return out


def event_id(row: Json) -> str:
    """An id that a project, a metric and a bucket always have, whatever the bucket's value."""
    facts = [row[name] for name in ("organization", "project_id", "metric", "start", "end")]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def cloudevents(rows: Iterable[Json]) -> str:
    """JSON lines, each a batch (`application/cloudevents-batch+json`)."""
    return _lines(list(batch) for batch in _batches(map(_cloudevent, rows)))


def _cloudevent(row: Json) -> Json:
    return {
        "specversion": "1.0",
        "id": event_id(row),
        "source": f"/metering/{row['organization']}",
        "type": f"{TYPE}.{row['metric']}",
        "subject": row["customer"],
        "time": row["start"],
        "datacontenttype": "application/json",
        "data": {name: row[name] for name in _DATA},
    }


def lago(rows: Iterable[Json]) -> str:
    """JSON lines, each the body of a `POST /api/v1/events/batch`."""
    return _lines({"events": list(batch)} for batch in _batches(map(_lago_event, rows)))


def _lago_event(row: Json) -> Json:
    return {
        "transaction_id": event_id(row),
        "external_subscription_id": row["customer"],
        "code": row["metric"],
        "timestamp": int(parse_time(row["start"]).timestamp()),
        "properties": {name: row[name] for name in _DATA if name != "customer"},
    }


def _batches(events: Iterator[Json]) -> Iterator[list[Json]]:
    while batch := list(islice(events, AT_ONCE)):
        yield batch


def _lines(documents: Iterable[Any]) -> str:
    return "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in documents)
