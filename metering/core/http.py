"""Parsers of HTTP headers that every HTTP client here needs. Pure."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

MAX_WAIT_SECONDS = 900.0


def retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds to wait, from 0 to 15 minutes; None where the header is absent or says nothing readable."""
    if text is None:
        return None
    text = text.strip()
    if re.fullmatch(r"[+-]?[0-9]+", text):
        # Only the first digits matter: anything longer is beyond the longest wait.
        return min(MAX_WAIT_SECONDS, max(0.0, float(int(text[:12]))))
    moment = http_date(text)
    return None if moment is None else min(MAX_WAIT_SECONDS, max(0.0, (moment - now).total_seconds()))


def http_date(text: str | None) -> datetime | None:
    """Parses the date in an HTTP header; None where it holds no date."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


LONGEST_RETRY_AFTER = timedelta(hours=24)


def parse_retry_after(text: str | None, now: datetime) -> timedelta | None:
    """Read a Retry-After header, seconds or an HTTP date, into [0, 24 h]; None where it is neither."""
    if text is None:
        return None
    stripped = text.strip()
    if re.fullmatch(r"[+-]?[0-9]+", stripped):
        # Only the first digits matter: anything longer is beyond the longest wait, and int() of 5,000 digits raises.
        wait = timedelta(seconds=int(stripped[:12]))
    else:
        try:
            moment = parsedate_to_datetime(stripped)
            wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
        except (ValueError, OverflowError, TypeError):
            return None
    return min(max(wait, timedelta(0)), LONGEST_RETRY_AFTER)
