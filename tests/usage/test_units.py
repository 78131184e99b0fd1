"""Units of storage compared with a size: each verdict exactly at its bounds."""

import pytest

from metering.usage.units import agreed, verdict

# One hour, and a root branch of 744,000 bytes: 1,000 byte-months an hour are exactly right.
SIZE = 744_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_000, "fine"),
        (100, "fine"),
        (99, "unknown"),
        (10_000, "fine"),
        (10_001, "unknown"),
        (744_000, "too large"),  # byte-hours
        (74_400, "too large"),
        (74_399, "unknown"),
        (7_440_000, "too large"),
        (7_440_001, "unknown"),
        (1, "too small"),  # 744,000 / 744 / 744 = 1.34
        (13, "too small"),  # ten times that
        (14, "unknown"),
        (0, "unknown"),
    ],
)
def test_a_value_is_judged_by_its_factor(value, expected):
    assert verdict(value, 1, SIZE) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(9_999, "unknown"), (10_000, "too small"), (1_000_000, "too small"), (1_000_001, "unknown")]
)
def test_the_lower_bounds_of_too_small_are_exact_too(value, expected):
    assert verdict(value, 1, 100_000 * 744 * 744) == expected


def test_the_hours_that_were_added_up_count():
    assert verdict(6_000, 6, SIZE) == "fine"
    assert verdict(60_000, 6, SIZE) == "fine"
    assert verdict(60_001, 6, SIZE) == "unknown"
    assert verdict(6 * 744_000, 6, SIZE) == "too large"


@pytest.mark.parametrize(("value", "hours", "size"), [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
def test_nothing_to_compare_says_nothing(value, hours, size):
    assert verdict(value, hours, size) == "unknown"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], "unknown"),
        (["unknown", "unknown"], "unknown"),
        (["fine"], "fine"),
        (["too large"], "too large"),
        (["too large", "unknown", "unknown"], "too large"),
        (["too large", "fine"], "unknown"),
        (["too large", "too large", "fine"], "too large"),
        (["too small", "fine", "fine", "too small", "fine"], "fine"),
        (["too small", "too large", "fine"], "unknown"),
    ],
)
def test_more_than_half_of_those_that_say_anything_decide(found, expected):
    assert agreed(found) == expected
