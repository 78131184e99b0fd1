"""The history of organizations on Neon's legacy plans: another endpoint, other metrics, a flat body.

Its answers are converted to the form of today's endpoint, each metric under a name of its own (`legacy.` and Neon's
name), so that one parser reads both and no sum can mix them: active and compute seconds, written bytes and sizes of the
legacy plans are not the numbers that today's plans bill. Pure: bytes in, bytes out.
"""

import json
from typing import Any

import msgspec

from metering.core.errors import PageRefusedError
from metering.core.meters import PREFIX

PATH = "consumption_history/projects"
NAMES = (
    "active_time_seconds",
    "compute_time_seconds",
    "written_data_bytes",
    "synthetic_storage_size_bytes",
    "data_storage_bytes_hour",
    "logical_size_bytes",
    "logical_size_bytes_hour",
)
"""Neon's own names, in the specification's order; the first four are in every answer."""
METRICS = tuple(PREFIX + name for name in NAMES)


def retold(body: bytes) -> bytes:
    """A page of the legacy endpoint in the form of today's; raises PageRefusedError if it is no such page.

    Everything but the metrics stays as it is, so that the parser of today's pages finds the other faults.
    """
    try:
        page = json.loads(body, object_pairs_hook=_unrepeated, parse_float=str, parse_constant=str)
        for project in page["projects"]:
            for period in project.get("periods") or ():
                period["consumption"] = [_bucket(bucket) for bucket in period.get("consumption") or ()]
        return msgspec.json.encode(page)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise PageRefusedError(f"the answer is not what the legacy API promises: {str(error)[:200]}") from None


def _bucket(bucket: dict[str, Any]) -> dict[str, Any]:
    metrics = [{"metric_name": PREFIX + name, "value": bucket[name]} for name in NAMES if name in bucket]
    times: dict[str, Any] = {name: bucket[name] for name in ("timeframe_start", "timeframe_end") if name in bucket}
    return {**times, "metrics": metrics}


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found
