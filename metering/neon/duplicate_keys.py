"""Refuses JSON objects in which a key occurs twice: the decoder silently keeps the last one, so a value could be lost.

Pure. A page of history has megabytes, so its strings are counted first. Only if the counts do not match, the page is
read again with Python's own parser, which shows every pair of key and value.
"""

import json
from collections import Counter
from typing import Any

from metering.core.errors import PageRefusedError
from metering.neon import wire


def refuse_repeated_keys(body: bytes, page: wire.History, *, has_nulls: bool) -> None:
    """Raises PageRefusedError if a key occurs twice in one object of a page of history.

    First all strings are counted, then each key by its name: a repeated key occurs more often than it has values.
    Escaped quotation marks spoil the counts, and a metric that is null spoils the first one.
    """
    is_escaped = b"\\" in body
    if not has_nulls and not is_escaped and body.count(b'"') == 2 * _strings_in(page):
        return
    if is_escaped or any(body.count(b'"%s"' % key) > count for key, count in _key_counts(page).items()):
        refuse_duplicates(body)


def refuse_duplicates(body: bytes) -> None:
    """Raises PageRefusedError if a key occurs twice in one object; parses the whole body again."""

    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise PageRefusedError(f"the key {wire.clean(twice)!r} stands twice in one object")
        return out

    try:
        json.loads(body, object_pairs_hook=checked, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise PageRefusedError(f"the answer is not JSON: {error}") from None


def _strings_in(page: wire.History) -> int:
    """How many keys and texts were decoded. If the body holds exactly this many strings, no key is duplicated."""
    paging = page.pagination
    count = 1 if paging is None else 2 + 2 * (paging.cursor is not None) + 2 * (paging.next is not None)
    for project in page.projects:
        count += 2 if project.periods is None else 3
        for period in project.periods or ():
            optional = (period.period_plan, period.period_start, period.period_end)
            count += 2 + 2 * sum(text is not None for text in optional) + (period.consumption is not None)
            for bucket in period.consumption or ():
                count += 2 * (bucket.timeframe_start is not None) + 2 * (bucket.timeframe_end is not None)
                if bucket.metrics is not None:
                    count += 1 + 3 * len(bucket.metrics)
    return count


def _key_counts(page: wire.History) -> dict[bytes, int]:
    """How many values each key has. A null is not counted, which at worst causes the slow reading."""
    periods = [period for project in page.projects for period in project.periods or ()]
    buckets = [bucket for period in periods for bucket in period.consumption or ()]
    metrics = sum(len(bucket.metrics or ()) for bucket in buckets)
    missing = sum(1 for bucket in buckets for metric in bucket.metrics or () if metric.value is None)
    return {
        b"projects": 1,
        b"pagination": 1,
        b"cursor": 1,
        b"project_id": len(page.projects),
        b"periods": sum(1 for project in page.projects if project.periods is not None),
        b"period_id": len(periods),
        b"period_plan": sum(1 for period in periods if period.period_plan is not None),
        b"period_start": sum(1 for period in periods if period.period_start is not None),
        b"period_end": sum(1 for period in periods if period.period_end is not None),
        b"consumption": sum(1 for period in periods if period.consumption is not None),
        b"timeframe_start": sum(1 for bucket in buckets if bucket.timeframe_start is not None),
        b"timeframe_end": sum(1 for bucket in buckets if bucket.timeframe_end is not None),
        b"metrics": sum(1 for bucket in buckets if bucket.metrics is not None),
        b"metric_name": metrics,
        b"value": metrics - missing,
    }
