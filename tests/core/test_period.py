"""Names of months: valid ones, and those that the calendar does not have."""

from datetime import UTC, datetime

import pytest

from metering.core.errors import UsageError
from metering.core.period import month_name, parse_month

NOW = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "name", "hours"),
    [
        ("2026-02", "2026-02", 672),
        ("2028-02", "2028-02", 696),
        ("current", "2026-01", 744),
        ("previous", "2025-12", 744),
        ("1970-01", "1970-01", 744),
        ("9998-12", "9998-12", 744),
    ],
)
def test_a_month_is_read_from_its_name(text, name, hours):
    month = parse_month(text, NOW)
    assert (month_name(month), month.hours()) == (name, hours)


@pytest.mark.parametrize(
    "text", ["9999-12", "9999-01", "1969-12", "2026-13", "2026-00", "2026-1", "10000-01", "", "now"]
)
def test_a_month_that_cannot_be_billed_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_month(text, NOW)
    assert caught.value.hint == "write 2026-10, current or previous"
