"""`upgrade PROJECT --plan P --transfer-to ORG` from outside: its order, and the month in which it happened."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.support.card import plan, price, toml
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk, copied

HOUR = 3600
SEPTEMBER = 30 * 86_400
HEADER = "project_id,customer,plan,valid_from,valid_to\n"
AT = "2026-09-28T10:30:15Z"
PLANS = toml(
    plan("free", quota={"compute_time_seconds": 360_000}),
    plan("pro", price(unit_price="0.16"), base_fee="20.00", quota={"compute_time_seconds": 2_700_000}),
)
TRANSFER = (
    *("POST", "organizations/org-free/projects/transfer"),
    {"destination_org_id": "org-paid", "project_ids": ["calm-dawn-1"]},
)
QUOTAS = (
    *("PATCH", "projects/calm-dawn-1"),
    {"project": {"settings": {"quota": {"compute_time_seconds": 2700000}}}},
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """calm-dawn-1 of cust7 is on the free plan, in an organization that it will leave; it was read."""
    with served(PlainNeon()) as neon:
        found = Desk(
            directory=tmp_path_factory.mktemp("kept"),
            neon=neon,
            now=AT,
            organizations=("org-free", "org-paid"),
            plans=PLANS,
        )
        found.subscriptions = f"{HEADER}calm-dawn-1,cust7,free,2026-01-01,\n"
        quota = {"quota": {"compute_time_seconds": 360000}}
        neon.fleet("org-free").project("calm-dawn-1", settings=quota, compute_time_seconds=90_000)
        neon.fleet("org-free").use("calm-dawn-1", "2026-09-28T08:00", compute_unit_seconds=2 * HOUR)
        neon.fleet("org-paid").project("old-tree-2")
        found.good("poll")
        yield found


@pytest.fixture
def desk(kept: Desk, tmp_path: Path) -> Iterator[Desk]:
    """A copy of it for each test."""
    with copied(kept, tmp_path) as found:
        yield found


def upgraded(desk: Desk, *more: str, plan: str = "pro") -> Any:
    """The command; what it wrote into subscriptions.csv is the file from then on."""
    ran = desk.run("upgrade", "calm-dawn-1", "--plan", plan, "--transfer-to", "org-paid", *more)
    desk.subscriptions = (desk.directory / "subscriptions.csv").read_text()
    return ran


def results(ran: Any) -> list[tuple[str, str]]:
    return [(step["step"], step["result"]) for step in ran.json["steps"]]


SWITCHED = f"{HEADER}calm-dawn-1,cust7,free,2026-01-01,{AT}\ncalm-dawn-1,cust7,pro,{AT},\n"


def test_first_the_transfer_then_the_quotas_then_the_line_of_the_subscription(desk: Desk) -> None:
    ran = upgraded(desk)
    assert (ran.code, results(ran)) == (0, [("transfer", "done"), ("quotas", "done"), ("subscription", "done")])
    assert desk.neon.changed == [TRANSFER, QUOTAS]
    assert [path for path, _ in desk.neon.asked if path.endswith("/auth")] == ["/api/v2/auth"]
    assert desk.subscriptions == SWITCHED


def test_a_key_of_an_organization_may_not_transfer_and_nothing_happens(desk: Desk) -> None:
    desk.neon.auth_method = "api_key_org"
    ran = upgraded(desk)
    assert (ran.code, desk.neon.changed) == (5, [])
    assert "personal key" in ran.err
    assert desk.subscriptions == f"{HEADER}calm-dawn-1,cust7,free,2026-01-01,\n"


def test_it_goes_on_after_a_transfer_that_was_refused(desk: Desk) -> None:
    desk.neon.fail("org-free", "transfer", 406, "too many projects")
    ran = upgraded(desk)
    assert (ran.code, desk.neon.changed) == (1, [TRANSFER])
    assert "406 too many projects" in ran.err
    del desk.neon.errors["org-free", "transfer"]
    assert results(upgraded(desk)) == [("transfer", "done"), ("quotas", "done"), ("subscription", "done")]
    assert desk.subscriptions == SWITCHED


def test_it_goes_on_after_the_transfer(desk: Desk) -> None:
    desk.neon.fail("calm-dawn-1", "change", 500, "later")
    assert upgraded(desk).code == 1
    assert desk.subscriptions == f"{HEADER}calm-dawn-1,cust7,free,2026-01-01,\n"
    del desk.neon.errors["calm-dawn-1", "change"]
    assert results(upgraded(desk)) == [("transfer", "already"), ("quotas", "done"), ("subscription", "done")]
    assert desk.neon.changed == [TRANSFER, QUOTAS, QUOTAS]
    assert desk.subscriptions == SWITCHED


def test_it_goes_on_after_the_quotas(desk: Desk) -> None:
    sound = desk.subscriptions
    desk.subscriptions = f"{HEADER}calm-dawn-1,cust7,free,2026-01-01,2027-01-01\ncalm-dawn-1,cust8,free,2027-01-01,\n"
    ran = upgraded(desk)
    assert ran.code == 1
    assert "a row that begins later" in ran.err
    desk.subscriptions = sound
    assert results(upgraded(desk)) == [("transfer", "already"), ("quotas", "already"), ("subscription", "done")]
    assert desk.neon.changed == [TRANSFER, QUOTAS]
    assert desk.subscriptions == SWITCHED


def test_a_third_run_changes_nothing(desk: Desk) -> None:
    upgraded(desk)
    assert results(upgraded(desk)) == [("transfer", "already"), ("quotas", "already"), ("subscription", "already")]
    assert desk.neon.changed == [TRANSFER, QUOTAS]
    assert desk.subscriptions == SWITCHED


def test_a_downgrade_below_current_usage_is_refused_before_anything_happens(desk: Desk) -> None:
    desk.plans = PLANS.replace("= 2700000", "= 90000")
    ran = upgraded(desk)
    assert (ran.code, desk.neon.changed) == (1, [])
    assert "compute_time_seconds: 90000 of 90000 CU-seconds are used already" in ran.err
    assert "--force" in ran.err
    assert results(upgraded(desk, "--force"))[0] == ("transfer", "done")


def test_the_month_has_the_usage_of_both_organizations_and_the_plan_changes_at_the_second(desk: Desk) -> None:
    upgraded(desk)
    fleet = desk.neon.fleet("org-paid")
    fleet.use("calm-dawn-1", "2026-09-28T10:00", compute_unit_seconds=5 * HOUR)
    fleet.use("calm-dawn-1", "2026-09-28T11:00", compute_unit_seconds=30 * HOUR)
    desk.now = "2026-10-03T00:00:00Z"
    desk.good("backfill")
    usage = {
        (row["organization"], row["plan"]): row["value"]
        for row in desk.good("usage", "2026-09")["usage"]
        if row["project_id"] == "calm-dawn-1"
    }
    assert usage == {("org-free", "pro"): str(2 * HOUR), ("org-paid", "pro"): str(35 * HOUR)}
    closed = desk.good("close", "2026-09")
    (invoice,) = closed["invoices"]
    # Free is free of charge, also for the hour in which it ended; 30 hours at 0.16, and the fee's share by the second.
    pro = SEPTEMBER - (27 * 86_400 + 10 * HOUR + 30 * 60 + 15)
    fee = round(Fraction(2000 * pro, SEPTEMBER))
    assert [(line["key"], line["amount"]) for line in invoice["lines"]] == [
        (f"calm-dawn-1/base_fee/pro/{AT}/1", f"{fee / 100:.2f}"),
        (f"calm-dawn-1/compute/pro/{AT}/1", "4.80"),
    ]
    assert desk.run("verify").code == 0
