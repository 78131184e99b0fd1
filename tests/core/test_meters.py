from datetime import UTC, datetime
from decimal import Decimal

import pytest

from metering.core import meters
from metering.core.meters import Divisor, Meter


def at(year, month, day):
    return datetime(year, month, day, tzinfo=UTC)


def meter(name, metrics, *divisors):
    dated = tuple(Divisor(valid_from=moment, divisor=Decimal(divisor)) for moment, divisor in divisors)
    return Meter(id=name, metrics=metrics, unit="unit", divisors=dated)


@pytest.mark.parametrize(
    ("name", "metrics", "unit", "denominator"),
    [
        ("compute", ("compute_unit_seconds",), "CU-hour", 3600),
        ("storage", ("root_branch_bytes_month", "child_branch_bytes_month"), "GB-month", 10**9),
        ("storage_root", ("root_branch_bytes_month",), "GB-month", 10**9),
        ("storage_child", ("child_branch_bytes_month",), "GB-month", 10**9),
        ("instant_restore", ("instant_restore_bytes_month",), "GB-month", 10**9),
        ("snapshots", ("snapshot_storage_bytes_month",), "GB-month", 10**9),
        ("public_transfer", ("public_network_transfer_bytes",), "GB", 10**9),
        ("private_transfer", ("private_network_transfer_bytes",), "GB", 10**9),
        ("extra_branches", ("extra_branches_month",), "branch-month", 744),
    ],
)
def test_the_catalogue_holds_every_meter_of_the_contract(name, metrics, unit, denominator):
    found = {entry.id: entry for entry in meters.catalogue()}[name]

    assert (found.metrics, found.unit, meters.denominator(found)) == (metrics, unit, denominator)


def test_every_known_metric_has_a_meter():
    assert len(meters.KNOWN_METRICS) == 8
    assert {metric for entry in meters.built_in() for metric in entry.metrics} == set(meters.KNOWN_METRICS)


def test_a_users_meter_replaces_one_of_its_id_in_its_place_or_follows():
    mine = meter("storage", ("root_branch_bytes_month",), (at(2024, 3, 1), "1000"))
    new = meter("functions", ("function_seconds",), (at(2024, 3, 1), "60"))

    merged = meters.catalogue([new, mine])

    assert [entry.id for entry in merged][:2] == ["compute", "storage"]
    assert merged[1] is mine
    assert merged[-1] is new


def test_dated_divisors_share_one_denominator():
    storage = meter("s", ("m",), (at(2026, 1, 1), "744000000000"), (at(2026, 8, 9), "1000000000"))

    assert meters.denominator(storage) == 744 * 10**9
    assert meters.scale(storage, at(2026, 8, 8)) == 1
    assert meters.scale(storage, at(2026, 8, 9)) == 744
    assert meters.scale(storage, at(2025, 1, 1)) == 1


def test_a_divisor_below_one_multiplies():
    halves = meter("s", ("m",), (at(2026, 1, 1), "0.5"), (at(2026, 2, 1), "1.5"))

    assert meters.denominator(halves) == 3
    assert meters.scale(halves, at(2026, 1, 1)) == 6
    assert meters.scale(halves, at(2026, 2, 1)) == 2


def test_a_metric_goes_to_the_meter_that_the_plan_prices_else_to_the_first():
    catalogue = meters.catalogue()

    assert meters.meter_for("root_branch_bytes_month", {"storage_root"}, catalogue).id == "storage_root"
    assert meters.meter_for("root_branch_bytes_month", {"compute"}, catalogue).id == "storage"
    assert meters.meter_for("unheard_of", {"compute"}, catalogue) is None
