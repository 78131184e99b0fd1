"""Whether storage is reported in byte-months, as we price it: an integral beside the size that it is the integral of.

Pure, and all integers. A month is 744 hours (facts of Neon's own billing), so the two units differ by that factor, and
a value that is ten times off still tells which one it is.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Literal

HOURS_OF_A_MONTH = 744
NEAR = 10
"""So many times more or less counts as near: a size changes within hours, the unit changes it 744 times."""

Verdict = Literal["fine", "too large", "too small", "unknown"]


def verdict(value: int, hours: int, logical_size: int) -> Verdict:
    """Judges byte-months summed over `hours` beside a size in bytes: fine, 744 times too large, or too small.

    `unknown` where it is near none of these, or where there is nothing to compare.
    """
    if value <= 0 or hours <= 0 or logical_size <= 0:
        return "unknown"
    held, size = value * HOURS_OF_A_MONTH, logical_size * hours
    if _is_near(held, size):
        return "fine"
    if _is_near(held, size * HOURS_OF_A_MONTH):
        return "too large"
    if _is_near(held * HOURS_OF_A_MONTH, size):
        return "too small"
    return "unknown"


def _is_near(one: int, other: int) -> bool:
    return one <= NEAR * other and other <= NEAR * one


def agreed(verdicts: Iterable[Verdict]) -> Verdict:
    """What more than half of those that say anything say; one project alone may hold something odd."""
    counts = Counter(found for found in verdicts if found != "unknown")
    for found, count in counts.items():
        if 2 * count > counts.total():
            return found
    return "unknown"
