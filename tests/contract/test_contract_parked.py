"""Safety at a close, from outside: every invoice that would be wrong waits with its reason, while the others close."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.card import plan, price, toml
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk, copied

HOUR = 3600
PLANS = toml(plan("pro", price(unit_price="1.00")), plan("euro", currency="EUR", base_fee="2.00"))
REASONS = {
    "bee": "its total would be 201.00 USD, more than 10 times the usual 20 (median of the last 2)",
    "cat": "its total would be -9.00 USD",
    "dog": "project dog used unheard_of, which no meter knows",
    "elk": "plan 'pro' is in USD, other charges of 'elk' are in EUR",
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """July and August are closed, September is read; ant is the one whose invoice is sound."""
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        for project in ("ant", "bee", "cat", "dog"):
            fleet.project(project)
        for month, ant, bee in (("07", 20, 20), ("08", 20, 20), ("09", 20, 201)):
            fleet.use("ant", f"2026-{month}-20", grain="daily", compute_unit_seconds=ant * HOUR)
            fleet.use("bee", f"2026-{month}-20", grain="daily", compute_unit_seconds=bee * HOUR)
        late = fleet.use("cat", "2026-08-30T20:00", compute_unit_seconds=10 * HOUR)
        found = Desk(
            directory=tmp_path_factory.mktemp("kept"),
            neon=neon,
            now="2026-08-02T12:00:00Z",
            plans=PLANS,
            default_plan="pro",
            pattern=r"(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)-(?P<created>\d+)",
        )
        found.good("backfill")
        found.good("close", "2026-07")
        found.now = "2026-09-02T12:00:00Z"
        found.good("backfill")
        found.good("close", "2026-08")
        late.metrics = {"compute_unit_seconds": HOUR}
        found.now = "2026-09-03T00:00:00Z"
        found.good("poll")
        fleet.project("elk-1", "x-elk-pro-1")
        fleet.project("elk-2", "x-elk-euro-1")
        fleet.use("elk-1", "2026-09-20", grain="daily", compute_unit_seconds=HOUR)
        fleet.use("dog", "2026-09-20", grain="daily", compute_unit_seconds=HOUR, unheard_of=6)
        found.now = "2026-10-02T12:00:00Z"
        found.good("backfill")
        yield found


@pytest.fixture
def desk(kept: Desk, tmp_path: Path) -> Iterator[Desk]:
    """A copy of it for each test."""
    with copied(kept, tmp_path) as found:
        yield found


def standing(desk: Desk) -> dict[str, str]:
    """Customer -> total, of September's invoices."""
    return {
        one["customer"]["id"]: one["total"] for one in desk.good("invoices", "2026-09")["invoices"] if one["number"]
    }


def test_four_invoices_wait_each_with_its_reason_and_the_fifth_closes(desk: Desk) -> None:
    rehearsed = desk.run("close", "2026-09", "--dry-run")
    ran = desk.run("close", "2026-09")
    for one in (rehearsed, ran):
        assert one.code == 3
        assert {row["customer"]: row["reason"] for row in one.json["parked"]} == REASONS
        assert all(f"{customer} is parked: {reason}" in one.err for customer, reason in REASONS.items())
        assert [invoice["customer"]["id"] for invoice in one.json["invoices"]] == ["ant"]
    assert (rehearsed.json["issued"], ran.json["issued"]) == ([], ["INV-2026-000006"])
    assert standing(desk) == {"ant": "20.00"}
    assert {row["customer"] for row in desk.good("invoices", "2026-09")["parked"]} == REASONS.keys()
    assert desk.good("close", "2026-09", code=3)["issued"] == []


def test_each_goes_on_once_somebody_looked_at_it_or_its_cause_is_gone(desk: Desk) -> None:
    desk.run("close", "2026-09")
    for customer in ("bee", "cat"):
        done = desk.run("close", "2026-09", "--release", customer, "--reason", "looked at")
        assert (done.code, len(done.json["issued"])) == (3, 1)
    refused = desk.run("close", "2026-09", "--release", "elk", "--reason", "looked at")
    assert refused.code == 1
    assert "elk cannot be released: plan 'pro' is in USD" in refused.err
    (alarm,) = [row for row in desk.good("status")["alarms"] if row["kind"] == "metric"]
    desk.run("acknowledge", alarm["alarm_id"], "--reason", "free of charge")
    assert desk.good("close", "2026-09", code=3)["parked"] == [{"customer": "elk", "reason": REASONS["elk"]}]
    desk.plans = PLANS.replace("EUR", "USD")
    assert len(desk.good("close", "2026-09")["issued"]) == 1
    assert standing(desk) == {"ant": "20.00", "bee": "201.00", "cat": "-9.00", "dog": "1.00", "elk": "3.00"}
    assert desk.run("verify").code == 0


def test_a_month_with_gaps_closes_for_nobody_and_an_accepted_gap_waives_nothing_else(desk: Desk) -> None:
    desk.organizations = ("org-a", "org-unread")
    ran = desk.run("close", "2026-09")
    assert (ran.code, ran.out) == (3, "")
    assert "org-unread: 720 h" in ran.err
    assert standing(desk) == {}
    accepted = desk.run("close", "2026-09", "--allow-incomplete", "it was made in October")
    assert accepted.code == 3
    assert {row["customer"]: row["reason"] for row in accepted.json["parked"]} == REASONS
    assert standing(desk) == {"ant": "20.00"}
