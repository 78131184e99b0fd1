"""What `check` says before a month goes wrong: taxes that end, example plans, an empty seller, unknown plans."""

from pathlib import Path

import pytest

from tests.support.plain_neon import PlainNeon, served
from tests.support.platform_desk import PRO, Desk

HEAD = "customer,tax_rate_percent,tax_name,tax_from,tax_to\n"


@pytest.fixture
def desk(tmp_path: Path):
    """A sound configuration at noon of 15 October 2026."""
    with served(PlainNeon()) as neon:
        neon.fleet("org-a").project("p-1", "p-1 by name")
        yield Desk(directory=tmp_path, neon=neon, now="2026-10-15T12:00:00Z")


@pytest.mark.parametrize(
    ("rows", "verb", "end", "has_ended"),
    [
        ("acme,19,MwSt,,2026-10-15\n", "ended", "2026-10-15", True),
        ("acme,19,MwSt,,2026-10-16\n", "ends", "2026-10-16", False),
        ("acme,19,MwSt,,2026-09-01\nacme,21,MwSt,2026-09-01,2026-12-31\n", "ends", "2026-12-31", False),
    ],
)
def test_check_warns_of_a_customer_whose_last_tax_ends(desk, rows, verb, end, has_ended):
    desk.customers = HEAD + rows

    document = desk.good("check")

    assert document["is_ready"]
    assert document["taxes_ended"] == [{"customer": "acme", "ends": end, "has_ended": has_ended}]
    assert (
        f"customer acme: the last tax {verb} on {end}, and none is in force from then on: its invoice would be parked;"
        f" add a row with tax_from = {end}, or empty tax_to"
    ) in document["notes"]


@pytest.mark.parametrize("rows", ["acme,19,MwSt,,\n", "acme,19,MwSt,,2026-10-01\nacme,21,MwSt,2026-10-01,\n"])
def test_a_tax_without_an_end_is_no_warning(desk, rows):
    desk.customers = HEAD + rows

    document = desk.good("check")

    assert document["taxes_ended"] == []
    assert not [note for note in document["notes"] if "tax" in note]


def test_check_is_not_ready_with_a_plan_of_init(desk):
    desk.plans = PRO.replace('name = "Pro"\n', 'name = "Pro"\nexample = true\n')

    document = desk.good("check", code=3)

    assert document["verdict"].startswith("not ready: first plan pro: has example = true: no month that uses it closes")


def test_check_is_not_ready_with_an_empty_seller_but_needs_none_without_plans(desk):
    desk.more = '[seller]\nname = " "\n'
    document = desk.good("check", code=3)
    assert document["verdict"].startswith("not ready: first seller: is empty: no month closes")

    desk.plans = ""
    assert desk.good("check")["verdict"] == "ready"


def test_check_refuses_a_subscription_to_a_plan_that_does_not_exist(desk):
    desk.subscriptions = "project_id,customer,plan\np-1,acme,prro\n"

    ran = desk.run("check")

    assert ran.code == 4
    assert "subscriptions.csv row 1 (line 2), plan: " in ran.err
    assert "'prro'" in ran.err


def test_check_is_not_ready_with_what_init_wrote(tmp_path):
    with served(PlainNeon()) as neon:
        desk = Desk(directory=tmp_path, neon=neon, now="2026-10-15T12:00:00Z")
        assert desk.run("init", str(tmp_path)).code == 0
        env = {"METERING_CONFIG": str(tmp_path / "config.toml"), "METERING_NEON__BASE_URL": neon.url}

        document = desk.good("check", config=False, env=env, code=3)

        assert not document["is_ready"]
        said = " ".join(document["faults"])
        assert "has example = true" in said
        assert "seller: is empty" in said
