"""A newcomer's first months, from outside: nothing closes by accident, and everybody is told why and how to go on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.inbox import receiving
from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import Desk, Ran

HOUR = 3600
PATTERN = r"(?P<platform>[^-]+)-(?P<customer>[^-]+)-(?P<plan>[^-]+)-(?P<created>\d+)"


class Newcomer:
    """Who has run `init`, written the organization's id into config.toml, and nothing else."""

    def __init__(self, directory: Path, neon: PlainNeon) -> None:
        self.directory = directory
        self.desk = Desk(directory=directory, neon=neon, now="2026-10-15T10:05:00Z")
        self.environment: dict[str, str] = {}
        assert self.desk.run("init", str(directory)).code == 0
        self.edit('"org-example-12345678"', '"org-a"')

    @property
    def path(self) -> Path:
        return self.directory / "config.toml"

    def edit(self, old: str, new: str) -> None:
        text = self.path.read_text()
        assert old in text, old
        self.path.write_text(text.replace(old, new, 1))

    def run(self, *arguments: str, now: str | None = None) -> Ran:
        self.desk.now = now or self.desk.now
        env = {
            "METERING_CONFIG": str(self.path),
            "METERING_NEON__BASE_URL": self.desk.neon.url,
            "METERING_NEON__HISTORY_REQUESTS_PER_MINUTE": "60000",
            **self.environment,
        }
        return self.desk.run(*arguments, config=False, env=env)

    def json(self, *arguments: str, code: int = 0, now: str | None = None) -> Any:
        ran = self.run(*arguments, now=now)
        assert ran.code == code, (arguments, ran)
        return json.loads(ran.out)

    def month(self, name: str) -> Any:
        return next(row for row in self.json("status")["months"] if row["month"] == name)


def said(ran: Ran) -> list[str]:
    """What stands on stderr, less the announcement of METERING_NOW."""
    return [line for line in ran.err.splitlines() if "rehearsing at" not in line]


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    """Two projects whose names ask for pro and one that asks for scale used 100 CU-hours each in September."""
    with served(PlainNeon()) as neon:
        fleet = neon.fleet("org-a")
        for project, plan in (("ant", "pro"), ("bee", "pro"), ("cat", "scale")):
            fleet.project(project, f"x-{project}-{plan}-1")
            for month in ("09", "10", "11", "12"):
                fleet.use(project, f"2026-{month}-10", grain="daily", compute_unit_seconds=100 * HOUR)
        yield Newcomer(tmp_path / "billing", neon)


SELLER = (
    "  seller.name is empty: invoices would name no seller (3 projects, Neon cost 66.60 USD): "
    'write name = "…" under [seller] in config.toml, then: metering close 2026-09'
)
UNASSIGNED = (
    "  usage of projects that nobody pays for (3 projects, Neon cost 66.60 USD): map them: subscriptions.csv, "
    "customers.project_name_pattern or default_plan; to leave them unbilled: "
    "metering close 2026-09 --allow-unassigned REASON"
)
SCALE = (
    "  names ask for the plan scale, which does not exist (1 project, Neon cost 22.20 USD): "
    "add the plan to config.toml or map the projects in subscriptions.csv; to leave them unbilled: "
    "metering close 2026-09 --allow-unassigned REASON"
)
EXAMPLE = (
    "  the plan pro still has example = true, as init wrote it (2 projects, Neon cost 44.40 USD): "
    "write your prices and take example = true out of the plan, then: metering close 2026-09"
)


def test_who_follows_the_readme_in_mid_month_loses_no_month(newcomer: Newcomer) -> None:
    assert newcomer.run("backfill").code == 0
    for _ in range(2):
        ran = newcomer.run("tick")
        assert (ran.code, ran.out, said(ran)) == (0, "", [])
    september = newcomer.month("2026-09")
    assert (september["state"], september["closed_at"], september["closable_from"]) == (
        "blocked",
        None,
        "2026-10-02T12:00:00Z",
    )
    assert september["by_hand_because"] == "it began before the first complete poll of this store"
    assert [row["kind"] for row in september["blocked_by"]] == ["seller", "unassigned"]
    checked = newcomer.json("check", code=3)
    assert [line.split(":")[0] for line in checked["closing"]] == [
        "2026-09 blocked, closable since 2026-10-02T12",
        "2026-11 closes by itself from 2026-12-03T00",
        *["missing for 2026-11"] * 2,
    ]
    assert "metering close 2026-09" in checked["closing"][0]
    refused = newcomer.run("close", "2026-09")
    assert (refused.code, refused.out) == (3, "")
    # 300 CU-hours at Neon's 0.222 USD.
    assert said(refused) == ["metering: 2026-09 is not closed:", SELLER, UNASSIGNED, "    ant", "    bee", "    cat"]
    assert newcomer.json("invoices", "2026-09")["invoices"] == []


def test_a_missing_plan_example_prices_and_an_empty_seller_are_told_together_and_one_by_one_mended(
    newcomer: Newcomer,
) -> None:
    newcomer.edit("# project_name_pattern =", "project_name_pattern =")
    newcomer.run("backfill")
    refused = newcomer.run("close", "2026-09")
    assert (refused.code, refused.out) == (3, "")
    assert said(refused)[1:] == [SELLER, EXAMPLE, SCALE, "    cat: x-cat-scale-1"]
    allowed = newcomer.run("close", "2026-09", "--allow-unassigned", "cat is not sold yet")
    assert (allowed.code, said(allowed)[1:]) == (3, [SELLER, EXAMPLE])
    newcomer.edit('name = "" ', 'name = "Acme" ')
    assert said(newcomer.run("close", "2026-09", "--allow-unassigned", "x"))[1:] == [EXAMPLE]
    newcomer.edit("example = true ", "example = false ")
    rehearsed = newcomer.json("close", "2026-09", "--dry-run", code=3)
    assert [(row["kind"], row["projects"], row["neon_cost"]) for row in rehearsed["blocked_by"]] == [
        ("unknown_plan", "1", "22.20")
    ]
    closed = newcomer.run("close", "2026-09", "--allow-unassigned", "cat is not sold yet")
    assert closed.code == 0
    # Worth: 100 CU-hours at the 0.16 USD of pro, the only plan.
    assert said(closed) == [
        "metering: not billed: usage of 1 project, Neon cost 22.20 USD, worth 16.00 USD: "
        "the project's name asks for a plan that does not exist (reason given: cat is not sold yet)",
        "metering: 2 customers have no row in customers.csv, so no name, no address and no tax: ant, bee",
    ]
    assert closed.json["not_billed"] == [
        {
            "reason": "unknown_plan",
            "projects": "1",
            "hours": None,
            "usage": [{"metric": "compute_unit_seconds", "value": "360000"}],
            "neon_cost": "22.20",
            "worth": [{"currency": "USD", "amount": "16.00"}],
        }
    ]
    assert [one["total"] for one in closed.json["invoices"]] == ["16.00", "16.00"]
    report = (newcomer.directory / "var/reports/2026-09/report.html").read_text()
    assert "Reason given: <bdi>cat is not sold yet</bdi>" in report
    assert 'data-stamp="Draft"' not in report
    again = newcomer.json("close", "2026-09")
    assert (again["issued"], again["allow_unassigned"]) == ([], "cat is not sold yet")
    assert newcomer.run("verify").code == 0


def sound(newcomer: Newcomer, more: str = "") -> None:
    """Everything that a close asks for is there; `more` goes to the end of config.toml."""
    newcomer.edit("# project_name_pattern =", "project_name_pattern =")
    newcomer.edit('name = "" ', 'name = "Acme" ')
    newcomer.edit("example = true ", "example = false ")
    newcomer.desk.neon.fleet("org-a").projects[2]["name"] = "x-cat-pro-1"
    newcomer.path.write_text(newcomer.path.read_text() + more)


def test_the_first_close_is_typed_and_the_following_ones_come_by_themselves(newcomer: Newcomer) -> None:
    sound(newcomer)
    newcomer.run("backfill")
    assert newcomer.run("tick").code == 0
    newcomer.json("close", "2026-09")
    # October began before the first poll: it stays a person's, and no tick says a word about it.
    newcomer.run("backfill", now="2026-11-03T00:00:00Z")
    ran = newcomer.run("tick")
    assert (ran.code, said(ran)) == (0, [])
    assert newcomer.month("2026-10")["state"] == "closable"
    newcomer.json("close", "2026-10")
    newcomer.run("backfill", now="2026-12-02T23:45:00Z")
    assert newcomer.run("tick").code == 0
    assert newcomer.month("2026-11")["closes_by_itself_from"] == "2026-12-03T00:00:00Z"
    assert newcomer.run("tick", now="2026-12-03T00:00:00Z").code == 0
    told = {
        row["month"]: (row["state"], row["closed_at"], row["closed_by"]) for row in newcomer.json("status")["months"]
    }
    assert {name: told[name] for name in ("2026-09", "2026-10", "2026-11")} == {
        "2026-09": ("closed", "2026-10-15T10:05:00Z", "typed"),
        "2026-10": ("closed", "2026-11-03T00:00:00Z", "typed"),
        "2026-11": ("closed", "2026-12-03T00:00:00Z", "tick"),
    }
    table = newcomer.run("status", "--format", "table").out
    assert "2026-11 closed at 2026-12-03T00:00:00Z by tick" in table
    assert newcomer.run("rebuild").code == 0
    assert newcomer.month("2026-11")["closed_by"] == "tick"


def test_a_month_that_tick_closes_tells_of_customers_without_a_row_as_the_typed_close_does(newcomer: Newcomer) -> None:
    sound(newcomer)
    (newcomer.directory / "customers.csv").write_text("customer\nsomebody\n")
    env = "METERING_CUSTOMERS__FILE"
    newcomer.environment = {env: "customers.csv"}
    newcomer.run("backfill")
    assert newcomer.run("tick").code == 0
    newcomer.json("close", "2026-09")
    newcomer.run("backfill", now="2026-12-02T23:45:00Z")
    newcomer.run("tick")
    ran = newcomer.run("tick", now="2026-12-03T00:00:00Z")
    assert ran.code == 0
    rows = newcomer.json("invoices", "2026-11")["invoices"]
    names = ", ".join(sorted(row["customer"]["id"] for row in rows))
    assert names
    [line] = [line for line in said(ran) if "in customers.csv" in line]
    assert "2026-11: " in line
    assert line.endswith(f"in customers.csv, so no name, no address and no tax: {names}")
    assert not [line for line in said(newcomer.run("tick")) if "in customers.csv" in line]


HOOK = """
[[webhooks]]
url = "{url}"
secret_env = "HOOK"
events = ["quota.*"]
allow_private_network = true
"""


def test_a_month_that_waits_is_told_once_per_set_of_reasons_to_everybody_and_closes_once_nothing_stops_it(
    newcomer: Newcomer,
) -> None:
    with receiving() as inbox:
        sound(newcomer, HOOK.format(url=inbox.url))
        newcomer.edit('# first_month = "2026-10"', 'first_month = "2026-10"')
        newcomer.desk.environment["HOOK"] = "whsec_" + "QUFB" * 8
        newcomer.desk.neon.fleet("org-a").projects[2]["name"] = "x-cat-scale-1"
        newcomer.run("backfill", now="2026-11-02T23:45:00Z")
        assert newcomer.run("tick").code == 0
        first = newcomer.run("tick", now="2026-11-03T00:00:00Z")
        assert first.code == 3
        assert [line.split(" (")[0] for line in said(first)] == [
            "metering: 2026-10 is not closed:",
            "  names ask for the plan scale, which does not exist",
            "    cat: x-cat-scale-1",
            "  the first close of this store is typed by a person",
        ]
        second = newcomer.run("tick")
        assert (second.code, said(second)) == (0, [])
        # Another set of reasons is news; the one before, come back, is not.
        newcomer.edit('name = "Acme" ', 'name = "" ')
        assert newcomer.run("tick", now="2026-11-03T00:15:00Z").code == 3
        newcomer.edit('name = "" ', 'name = "Acme" ')
        assert newcomer.run("tick", now="2026-11-03T00:30:00Z").code == 0
        events = [json.loads(body) for _, body in inbox.posts]
        assert [event["type"] for event in events] == ["close.blocked"] * 2
        assert [reason["kind"] for reason in events[0]["data"]["reasons"]] == ["unknown_plan", "first_close"]
        assert events[0]["data"]["reasons"][0]["neon_cost"] == "22.20"
        assert events[0]["data"]["month"] == "2026-10"
        newcomer.desk.neon.fleet("org-a").projects[2]["name"] = "x-cat-pro-1"
        newcomer.json("close", "2026-09", "--allow-unassigned", "the first month is a gift")
        assert newcomer.run("tick", now="2026-11-03T00:45:00Z").code == 3  # the old name was in October: still unknown
        newcomer.path.write_text(newcomer.path.read_text() + '\n[[plans]]\nid = "scale"\ncurrency = "USD"\n')
        assert newcomer.run("tick", now="2026-11-03T01:00:00Z").code == 0
        assert newcomer.month("2026-10")["closed_by"] == "tick"


def test_the_report_comes_as_a_draft_as_soon_as_the_month_is_settled_and_the_close_writes_the_final_one(
    newcomer: Newcomer,
) -> None:
    sound(newcomer)
    newcomer.edit('# first_month = "2026-10"', 'first_month = "2026-10"')
    newcomer.run("backfill", now="2026-11-02T11:45:00Z")
    directory = newcomer.directory / "var/reports/2026-10"
    assert newcomer.run("tick").code == 0
    assert not directory.exists()
    assert newcomer.run("tick", now="2026-11-02T12:00:00Z").code == 0
    assert 'class="stamped" data-stamp="Draft"' in (directory / "report.html").read_text()
    assert 'data-stamp="Draft"' in (directory / "invoices/draft-ant.html").read_text()
    newcomer.run("report", "2026-10", "--format", "xlsx")
    written = (directory / "report.html").read_bytes()
    assert newcomer.run("tick", now="2026-11-02T12:15:00Z").code == 0
    assert (directory / "report.html").read_bytes() == written
    newcomer.json("close", "2026-10")
    assert json.loads((directory / "report.json").read_text())["report"]["is_draft"] is False
    assert sorted(path.name for path in (directory / "invoices").iterdir()) == [
        f"INV-2026-00000{number}.html" for number in (1, 2, 3)
    ]
    log = newcomer.json("alerts", "list")["alerts"]
    assert [row["type"] for row in log if row["type"] == "report.ready"] == ["report.ready"]


def test_a_month_without_anybody_to_bill_is_a_draft_until_it_is_closed(newcomer: Newcomer) -> None:
    newcomer.run("backfill")
    newcomer.run("report", "2026-09")
    report = newcomer.directory / "var/reports/2026-09/report.json"
    assert json.loads(report.read_text())["report"]["is_draft"] is True


def test_a_draft_never_takes_the_place_of_a_final_report(newcomer: Newcomer) -> None:
    sound(newcomer)
    newcomer.run("backfill")
    newcomer.json("close", "2026-09")
    report = newcomer.directory / "var/reports/2026-09/report.json"
    final = report.read_bytes()
    newcomer.json("void", "INV-2026-000001", "--reason", "wrong address")
    ran = newcomer.run("report", "2026-09")
    assert (ran.code, ran.out) == (1, "")
    assert "holds the final report of 2026-09" in ran.err
    assert report.read_bytes() == final
    newcomer.json("close", "2026-09")
    assert json.loads(report.read_text())["report"]["documents"] == {
        "final": 3,
        "draft": 0,
        "void": 1,
        "credit_note": 1,
    }


def test_a_month_closed_over_unassigned_usage_is_issued_anew_without_asking_again(newcomer: Newcomer) -> None:
    sound(newcomer)
    newcomer.desk.neon.fleet("org-a").projects[2]["name"] = "our own"
    newcomer.run("backfill")
    assert newcomer.run("close", "2026-09").code == 3
    newcomer.json("close", "2026-09", "--allow-unassigned", "our own")
    newcomer.json("void", "INV-2026-000001", "--reason", "wrong address")
    assert newcomer.json("close", "2026-09")["issued"] == ["INV-2026-000003"]


def test_by_hand_means_by_hand_no_month_is_blocked_where_close_day_is_zero(newcomer: Newcomer) -> None:
    newcomer.edit("close_day = 3 ", "close_day = 0 ")
    newcomer.edit('# first_month = "2026-10"', 'first_month = "2026-10"')
    newcomer.run("backfill", now="2026-11-28T00:00:00Z")
    ran = newcomer.run("tick")
    assert (ran.code, said(ran)) == (0, [])
    assert newcomer.json("check", code=3)["closing"][-1] == "no month closes by itself: schedule.close_day is 0"
