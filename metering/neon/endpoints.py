"""The consumption endpoints and the metrics each can be asked for."""

from collections.abc import Iterable

from metering.core import meters
from metering.core.meters import PREFIX
from metering.neon import legacy

HISTORY = {"v2": "consumption_history/v2/projects", "legacy": legacy.PATH}
"""Where an organization's `history` is asked for."""


NEWEST_METRICS = frozenset({"snapshot_storage_bytes_month"})
"""What Neon added last: a server that refuses the list of metrics may not have it yet."""


def metric_lists(history: str, configured: Iterable[str]) -> list[list[str]]:
    """Lists of metrics to ask for, in turn: all known and configured ones; Neon's own; Neon's without the newest.

    The legacy endpoint is asked for all its metrics, then for those that it always answers.
    """
    if history == "legacy":
        return [list(legacy.NAMES), list(legacy.NAMES[:4])]
    known = list(meters.KNOWN_METRICS)
    named = [metric for metric in configured if not metric.startswith(PREFIX)]
    lists = [
        list(dict.fromkeys([*known, *named])),
        known,
        [metric for metric in known if metric not in NEWEST_METRICS],
    ]
    return [metrics for i, metrics in enumerate(lists) if metrics not in lists[:i]]
