"""Parsers of HTTP headers that every HTTP client here needs. Pure."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime


def retry_after(text: str | None, now: datetime, longest: timedelta) -> timedelta | None:
    """Read a Retry-After header, seconds or an HTTP date, as a wait from 0 to `longest`; None where it is neither."""
    if text is None:
        return None
    text = text.strip()
    if re.fullmatch(r"[+-]?[0-9]+", text):
        # Only the first digits matter: anything longer is beyond the longest wait.
        wait = timedelta(seconds=int(text[:12]))
    else:
        moment = http_date(text)
        if moment is None:
            return None
        wait = moment - now
    return min(longest, max(timedelta(0), wait))


def http_date(text: str | None) -> datetime | None:
    """Parses the date in an HTTP header; None where it holds no date."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
