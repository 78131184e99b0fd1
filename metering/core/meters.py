"""The catalogue: which metrics make up a billable thing, in which unit, and what a raw value is divided by.

Data, not code: a divisor holds from the moment at which a page was *read* (not from a bucket's time), because what
the API answers today is in today's unit for every date. Knows no price and no plan.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import lcm

from pydantic import BaseModel

from metering.core.values import Identifier, Moment, Positive, Some, Text


class Divisor(BaseModel, frozen=True, extra="forbid"):
    """What turns a metric's raw unit into the meter's unit, for pages read from a moment on."""

    valid_from: Moment
    divisor: Positive


class Meter(BaseModel, frozen=True, extra="forbid"):
    """A billable thing: the sum of some of Neon's metrics, in a unit."""

    id: Identifier
    metrics: Some[Identifier]
    unit: Text
    divisors: Some[Divisor]


PREFIX = "legacy."


KNOWN_METRICS = (
    "compute_unit_seconds",
    "root_branch_bytes_month",
    "child_branch_bytes_month",
    "instant_restore_bytes_month",
    "snapshot_storage_bytes_month",
    "public_network_transfer_bytes",
    "private_network_transfer_bytes",
    "extra_branches_month",
)
"""The eight metrics of the project history, by the API's names."""

HISTORY_BEGINS = datetime(2024, 3, 1, tzinfo=UTC)
"""Neon keeps no consumption history from before this day."""


def _meter(name: str, metrics: tuple[str, ...], unit: str, divisor: str) -> Meter:
    since = Divisor(valid_from=HISTORY_BEGINS, divisor=Decimal(divisor))
    return Meter(id=name, metrics=metrics, unit=unit, divisors=(since,))


@cache
def built_in() -> tuple[Meter, ...]:
    """The catalogue as shipped, in the order in which an unpriced metric looks for its meter."""
    gb, gb_month = "GB", "GB-month"
    return (
        _meter("compute", ("compute_unit_seconds",), "CU-hour", "3600"),
        _meter("storage", ("root_branch_bytes_month", "child_branch_bytes_month"), gb_month, "1000000000"),
        _meter("storage_root", ("root_branch_bytes_month",), gb_month, "1000000000"),
        _meter("storage_child", ("child_branch_bytes_month",), gb_month, "1000000000"),
        _meter("instant_restore", ("instant_restore_bytes_month",), gb_month, "1000000000"),
        _meter("snapshots", ("snapshot_storage_bytes_month",), gb_month, "1000000000"),
        _meter("public_transfer", ("public_network_transfer_bytes",), gb, "1000000000"),
        _meter("private_transfer", ("private_network_transfer_bytes",), gb, "1000000000"),
        _meter("extra_branches", ("extra_branches_month",), "branch-month", "744"),
    )


def catalogue(user_meters: Iterable[Meter] = ()) -> tuple[Meter, ...]:
    """The built-in meters with the user's: one of the same id is replaced in its place, others follow."""
    merged = {meter.id: meter for meter in built_in()}
    merged.update((meter.id, meter) for meter in user_meters)
    return tuple(merged.values())


def denominator(meter: Meter) -> int:
    """The integer D for which every quantity of the meter is a whole number of 1/D units."""
    return lcm(*(Fraction(entry.divisor).numerator for entry in meter.divisors))


def scale(meter: Meter, read_at: datetime) -> int:
    """The factor for a raw value read at that moment: quantity = value * scale / denominator."""
    in_force = [entry for entry in meter.divisors if entry.valid_from <= read_at]
    first = min(meter.divisors, key=lambda entry: entry.valid_from)
    entry = max(in_force, key=lambda entry: entry.valid_from, default=first)
    factor = denominator(meter) / Fraction(entry.divisor)
    assert factor.denominator == 1, "the denominator is a multiple of every divisor"
    return factor.numerator


def meter_for(metric: str, priced: Collection[str], meters: Iterable[Meter]) -> Meter | None:
    """The meter of this metric that the plan prices (`priced`: meter ids), else the catalogue's first, else None."""
    candidates = [meter for meter in meters if metric in meter.metrics]
    return next((meter for meter in candidates if meter.id in priced), candidates[0] if candidates else None)


def quantity(value: int, meter: Meter, read_at: datetime) -> Fraction:
    """Converts a raw API value, read at that moment, into the meter's unit, exactly."""
    return Fraction(value * scale(meter, read_at), denominator(meter))
