"""Unknown is not nothing: which projects are known, and a close asks for inventory as it asks for history."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from metering.core.period import Period, month_of
from metering.usage import known
from metering.usage.known import Unseen
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk, Ran, copied

Json = dict[str, Any]
HOUR = 3600
PATTERN = "(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)-(?P<created>[0-9]+)"
PLANS = """
[[plans]]
id = "pro"
name = "Pro"
currency = "USD"
base_fee = "20.00"
[[plans.prices]]
meter = "compute"
valid_from = 2026-01-01
model = "per_unit"
unit_price = "0.10"
[[plans.prices]]
meter = "compute"
valid_from = 2026-09-16
model = "per_unit"
unit_price = "0.20"

[[plans]]
id = "team"
name = "Team"
currency = "USD"
base_fee = "99.00"
"""
UNREADABLE = b'{"projects": [{"id": 7}]}'
SEPTEMBER = month_of(datetime(2026, 9, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """bee's project is named and used all September; inventory was read on the 27th at 10:20."""
    with served(PlainNeon()) as neon:
        desk = Desk(
            directory=tmp_path_factory.mktemp("september"), neon=neon, default_plan="team", pattern=PATTERN, plans=PLANS
        )
        desk.more = '[seller]\nname = "Acme"\naddress = "1 Street"\ncountry = "BE"\n'
        neon.fleet("org-a").project("p-1", "acme-bee-pro-1")
        use(desk, "p-1", 10)
        use(desk, "p-1", 20)
        desk.now = "2026-09-27T10:20:00Z"
        desk.good("backfill")
        yield desk


@pytest.fixture
def desk(kept: Desk, tmp_path: Path) -> Iterator[Desk]:
    with copied(kept, tmp_path) as found:
        yield found


def use(desk: Desk, project: str, day: int, hours: int = 100, organization: str = "org-a") -> None:
    """As Neon answers on October 3rd: by the day, and by the hour (10:00) from the 27th on."""
    start, grain = (f"2026-09-{day:02}", "daily") if day < 27 else (f"2026-09-{day:02}T10:00", "hourly")
    desk.neon.fleet(organization).use(project, start, grain=grain, compute_unit_seconds=hours * HOUR)


def outage(desk: Desk, kind: str, organization: str = "org-a") -> None:
    """From now on `GET /projects` answers so."""
    for endpoint in ("inventory", "recoverable"):
        if kind == "unreadable":
            desk.neon.errors[organization, endpoint] = (200, UNREADABLE)
        else:
            desk.neon.fail(organization, endpoint, int(kind))


def mend(desk: Desk) -> None:
    desk.neon.errors.clear()


def october(desk: Desk, command: str = "backfill") -> Ran:
    """Everything that can be read is read on October 3rd."""
    desk.now = "2026-10-03T12:00:00Z"
    return desk.run(command)


def billed(document: Json) -> list[tuple[str, str]]:
    return [(one["customer"]["id"], one["subtotal"]) for one in document["invoices"]]


OUTAGES = ["500", "403", "unreadable"]


@pytest.mark.parametrize("kind", OUTAGES)
def test_a_close_is_refused_where_inventory_was_not_read_after_the_month(desk: Desk, kind: str) -> None:
    outage(desk, kind)
    assert october(desk).code == 3
    ran = desk.run("close", "2026-09")
    assert (ran.code, ran.out) == (3, "")
    assert "org-a: 86 h from 2026-09-27T10:00:00Z to 2026-10-01T00:00:00Z (inventory)" in ran.err
    coverage = desk.good("usage", "2026-09")["coverage"]
    assert coverage["gaps"] == [
        {
            "organization": "org-a",
            "start": "2026-09-27T10:00:00Z",
            "end": "2026-10-01T00:00:00Z",
            "reason": "inventory",
        }
    ]
    assert (coverage["hours"], coverage["covered_hours"], coverage["complete"]) == (720, 634, False)


@pytest.mark.parametrize("kind", OUTAGES)
def test_names_and_plans_stay_where_inventory_fails_later(desk: Desk, kind: str) -> None:
    outage(desk, kind)
    october(desk)
    closed = desk.good("close", "2026-09", "--allow-incomplete", "Neon's list of projects was down")
    # 100 CU-hours at 0.10 and 100 at 0.20, and the base fee.
    assert billed(closed) == [("bee", "50.00")]
    assert closed["invoices"][0]["coverage"] == {
        "hours": 720,
        "covered_hours": 634,
        "complete": False,
        "grain": "daily",
    }
    assert desk.run("verify").code == 0


@pytest.mark.parametrize("kind", OUTAGES)
def test_a_project_that_came_during_an_outage_is_not_known_and_nobody_pays_for_it(desk: Desk, kind: str) -> None:
    outage(desk, kind)
    desk.neon.fleet("org-a").project("p-2", "acme-cow-pro-2", created="2026-09-28")
    use(desk, "p-2", 29)
    october(desk)
    document = desk.good("invoices", "2026-09")
    assert billed(document) == [("bee", "50.00")]
    assert document["unassigned"] == [
        {"project_id": "p-2", "metric": "compute_unit_seconds", "value": str(100 * HOUR), "reason": "not_known"}
    ]
    [row] = [row for row in desk.good("usage", "2026-09")["usage"] if row["project_id"] == "p-2"]
    assert (row["customer"], row["plan"], row["project_name"]) == (None, None, None)
    closed = desk.good("close", "2026-09", "--allow-incomplete", "down")
    assert billed(closed) == [("bee", "50.00")]
    assert closed["unassigned"] == document["unassigned"]
    mend(desk)
    desk.now = "2026-10-04T12:00:00Z"
    desk.good("poll")
    # What was closed stays as it was known then.
    assert desk.run("verify").code == 0
    assert billed(desk.good("invoices", "2026-09")) == [("bee", "50.00")]


def test_after_the_outage_the_month_is_what_it_had_been_without_one(desk: Desk) -> None:
    outage(desk, "500")
    desk.neon.fleet("org-a").project("p-2", "acme-cow-pro-2", created="2026-09-21")
    use(desk, "p-2", 29)
    october(desk)
    mend(desk)
    desk.good("poll")
    # A third of the base fee of 20.00, and 100 at 0.20.
    assert billed(desk.good("close", "2026-09")) == [("bee", "50.00"), ("cow", "26.67")]


def test_the_month_closes_once_an_inventory_read_began_when_it_was_over_and_not_a_second_earlier(desk: Desk) -> None:
    desk.now = "2026-09-30T23:59:59Z"
    desk.good("poll")
    outage(desk, "500")
    october(desk)
    ran = desk.run("close", "2026-09")
    assert ran.code == 3
    assert "org-a: 1 h from 2026-09-30T23:00:00Z to 2026-10-01T00:00:00Z (inventory)" in ran.err


def test_an_inventory_read_that_began_at_the_months_end_is_enough(desk: Desk) -> None:
    desk.now = "2026-10-01T00:00:00Z"
    desk.good("poll")
    outage(desk, "500")
    october(desk)
    assert billed(desk.good("close", "2026-09")) == [("bee", "50.00")]


def test_deleted_projects_belong_to_a_complete_inventory_read(desk: Desk) -> None:
    desk.neon.fail("org-a", "recoverable", 500)
    october(desk)
    ran = desk.run("close", "2026-09")
    assert ran.code == 3
    assert "(inventory)" in ran.err


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_list_of_deleted_projects_that_neon_does_not_have_stops_no_close(desk: Desk, status: int) -> None:
    desk.neon.fail("org-a", "recoverable", status)
    assert october(desk).code == 0
    assert billed(desk.good("close", "2026-09")) == [("bee", "50.00")]


def test_a_sponsored_organization_whose_inventory_fails_is_no_reason(desk: Desk) -> None:
    desk.organizations, desk.sponsored = ("org-a", "org-s"), ("org-s",)
    outage(desk, "500", "org-s")
    assert october(desk).code == 3
    assert billed(desk.good("close", "2026-09")) == [("bee", "50.00")]


def test_each_organization_asks_for_its_own_inventory(desk: Desk) -> None:
    desk.organizations = ("org-a", "org-b")
    desk.neon.fleet("org-b").project("p-9", "acme-dog-pro-9")
    desk.good("backfill")
    outage(desk, "500", "org-b")
    october(desk)
    ran = desk.run("close", "2026-09")
    assert ran.code == 3
    assert "org-b: 86 h from 2026-09-27T10:00:00Z to 2026-10-01T00:00:00Z (inventory)" in ran.err
    assert "org-a:" not in ran.err


def test_a_first_poll_at_which_inventory_failed_knows_nobody(tmp_path: Path) -> None:
    with served(PlainNeon()) as neon:
        desk = Desk(directory=tmp_path, neon=neon, default_plan="team", plans=PLANS)
        neon.fleet("org-a").project("p-1")
        use(desk, "p-1", 10)
        outage(desk, "500")
        assert october(desk).code == 3
        document = desk.good("invoices", "2026-09")
        assert (billed(document), [row["reason"] for row in document["unassigned"]]) == ([], ["not_known"])
        ran = desk.run("close", "2026-09")
        assert ran.code == 3
        assert "org-a: 720 h from 2026-09-01T00:00:00Z to 2026-10-01T00:00:00Z (inventory)" in ran.err


def test_a_project_that_subscriptions_map_is_known_without_inventory(desk: Desk) -> None:
    outage(desk, "500")
    use(desk, "p-2", 29)
    october(desk)
    desk.subscriptions = "project_id,customer,plan\np-2,cow,pro\n"
    document = desk.good("invoices", "2026-09")
    # An hour of the base fee of 20.00, and 100 at 0.20.
    assert billed(document) == [("bee", "50.00"), ("cow", "20.03")]
    assert document["unassigned"] == []


def test_a_project_gone_before_anybody_looked_is_billed_under_its_own_id(desk: Desk) -> None:
    use(desk, "p-2", 29)
    assert october(desk).code == 0
    document = desk.good("invoices", "2026-09")
    # One hour of the team plan's 99.00.
    assert billed(document) == [("bee", "50.00"), ("p-2", "0.14")]
    assert document["unassigned"] == []


def test_a_project_in_the_list_of_deleted_ones_has_its_name(desk: Desk) -> None:
    deleted = {"id": "p-2", "name": "acme-cow-pro-2", "region_id": "aws", "created_at": "2026-09-28T00:00:00Z"}
    desk.neon.fleet("org-a").deleted.append({**deleted, "deleted_at": "2026-09-30T00:00:00Z"})
    use(desk, "p-2", 29)
    assert october(desk).code == 0
    # Two of thirty days of the base fee of 20.00, and 100 at 0.20.
    assert billed(desk.good("close", "2026-09")) == [("bee", "50.00"), ("cow", "21.33")]


def test_a_project_missing_from_a_read_without_the_deleted_ones_is_not_known(desk: Desk) -> None:
    desk.neon.fail("org-a", "recoverable", 403)
    use(desk, "p-2", 29)
    assert october(desk).code == 0
    document = desk.good("invoices", "2026-09")
    assert (billed(document), [row["reason"] for row in document["unassigned"]]) == ([("bee", "50.00")], ["not_known"])
    ran = desk.run("close", "2026-09")
    assert ran.code == 3
    assert "org-a: 1 h from 2026-09-29T10:00:00Z to 2026-09-29T11:00:00Z (inventory)" in ran.err


def test_a_project_that_inventory_names_without_showing_it_is_not_known(desk: Desk) -> None:
    desk.neon.fleet("org-a").unavailable = ["p-2"]
    use(desk, "p-2", 29)
    october(desk)
    document = desk.good("invoices", "2026-09")
    assert (billed(document), [row["reason"] for row in document["unassigned"]]) == ([("bee", "50.00")], ["not_known"])
    assert desk.run("close", "2026-09").code == 3
    closed = desk.good("close", "2026-09", "--allow-incomplete", "Neon cannot show it")
    assert billed(closed) == [("bee", "50.00")]
    # It is gone later: what was closed stays as it was known.
    desk.neon.fleet("org-a").unavailable = []
    desk.now = "2026-10-05T12:00:00Z"
    desk.good("poll")
    assert desk.run("verify").code == 0


def test_a_project_that_moved_to_an_organization_nobody_could_read_is_not_gone(desk: Desk) -> None:
    desk.organizations = ("org-a", "org-b")
    use(desk, "p-2", 28)
    desk.neon.fleet("org-b").project("p-2", "acme-cow-pro-2", created="2026-09-21")
    outage(desk, "500", "org-b")
    october(desk)
    document = desk.good("invoices", "2026-09")
    assert (billed(document), [row["reason"] for row in document["unassigned"]]) == ([("bee", "50.00")], ["not_known"])
    mend(desk)
    desk.good("poll")
    assert billed(desk.good("close", "2026-09")) == [("bee", "50.00"), ("cow", "26.67")]


def test_a_store_that_only_a_backfill_has_filled_closes(tmp_path: Path) -> None:
    with served(PlainNeon()) as neon:
        desk = Desk(directory=tmp_path, neon=neon, default_plan="pro", plans=PLANS, now="2026-10-03T12:00:00Z")
        neon.fleet("org-a").project("p-1")
        use(desk, "p-1", 20)
        assert desk.run("backfill").code == 0
        assert billed(desk.good("close", "2026-09", "--allow-incomplete", "seller")) == [("p-1", "40.00")]


def test_a_running_month_asks_for_no_inventory_of_its_end(desk: Desk) -> None:
    assert {gap["reason"] for gap in desk.good("usage", "current")["coverage"]["gaps"]} <= {"too_recent"}


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 9, day, hour, minute, tzinfo=UTC)


def unseen(first: datetime, end: datetime, whole_at: dict[str, datetime | None], *, is_named: bool = False) -> bool:
    rows = pl.DataFrame(
        [("org-a", "p", first, end, is_named)],
        schema={
            "organization": pl.String,
            "project_id": pl.String,
            "first_start": pl.Datetime("us", "UTC"),
            "first_end": pl.Datetime("us", "UTC"),
            "is_named": pl.Boolean,
        },
        orient="row",
    )
    [found] = known.unseen(rows, whole_at, ["org-a", "org-b"])
    assert found == Unseen(organization="org-a", project_id="p", first_start=first, is_gone=found.is_gone)
    return found.is_gone


def test_a_project_is_gone_only_by_reads_that_began_when_its_first_bucket_was_over() -> None:
    hour = (at(5, 10), at(5, 11))
    assert unseen(*hour, {"org-a": at(5, 11), "org-b": at(5, 11)})
    assert not unseen(*hour, {"org-a": at(5, 10, 59), "org-b": at(5, 11)})
    assert not unseen(*hour, {"org-a": at(5, 11), "org-b": at(5, 10, 59)})
    assert not unseen(*hour, {"org-a": at(5, 11)})
    assert not unseen(*hour, {})
    assert not unseen(*hour, {"org-a": at(5, 11), "org-b": at(5, 11)}, is_named=True)


def test_hours_without_inventory_reach_from_the_last_read_to_the_months_end() -> None:
    def found(read_at: datetime | None, *used: Period, is_over: bool = True) -> list[tuple[datetime, datetime]]:
        return [(one.start, one.end) for one in known.stretches(SEPTEMBER, read_at, used, is_over=is_over)]

    end = SEPTEMBER.end
    assert found(None) == [(at(1), end)]
    assert found(datetime(2026, 8, 3, tzinfo=UTC)) == [(at(1), end)]
    assert found(at(28, 7, 59)) == [(at(28, 7), end)]
    assert found(end) == []
    assert found(at(28), is_over=False) == []
    used = Period(start=at(3), end=at(4))
    assert found(end, used) == [(at(3), at(4))]
    assert found(at(3, 12), used) == [(at(3), end)]
    assert found(end, Period(start=datetime(2026, 8, 30, tzinfo=UTC), end=at(2))) == [(at(1), at(2))]
