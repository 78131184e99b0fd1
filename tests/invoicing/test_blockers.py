"""Reasons that prevent a close: from facts to sentences with a remedy."""

from fractions import Fraction
from typing import Any

import pytest

from metering.core.period import month_of, parse_time
from metering.invoicing import blockers
from metering.invoicing.blockers import Facts, Waivers
from metering.rating.card import Card, canonical
from tests.support.card import BUILT_IN, plan, price

SEPTEMBER = month_of(parse_time("2026-09-01T00:00:00Z"))
SETTLED = parse_time("2026-10-02T12:00:00Z")


def facts(**more: Any) -> Facts:
    given = {
        "month": SEPTEMBER,
        "now": SETTLED,
        "settled_at": SETTLED,
        "seller": "Acme",
        "projects_of": {"org-a": ["a", "b"]},
        "examples": {},
        **more,
    }
    return Facts(**given)


def kinds(found: Facts, waivers: Waivers = blockers.NO_WAIVERS) -> list[str]:
    return [reason.kind for reason in blockers.reasons(found, waivers)]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-09-30T23:59:59Z", ["not_over"]),
        ("2026-10-01T00:00:00Z", ["not_settled"]),
        ("2026-10-02T11:59:59Z", ["not_settled"]),
        ("2026-10-02T12:00:00Z", []),
    ],
)
def test_a_month_is_over_at_its_end_and_settled_settle_hours_later(now: str, expected: list[str]):
    assert kinds(facts(now=parse_time(now))) == expected


GAP = {"organization": "org-a", "start": "2026-09-30T22:00:00Z", "end": "2026-10-01T00:00:00Z", "reason": "inventory"}


def test_all_reasons_are_told_together_each_with_its_projects_their_cost_and_a_way_out():
    found = facts(
        seller=" ",
        gaps=[GAP],
        unassigned=["c", "d"],
        asked=[("d", "x-d-scale-1", "scale")],
        examples={"pro": ["a"]},
        alarms=[("alarm_1", "odd")],
        is_first_by_itself=True,
    )
    costs = {"a": Fraction(1), "b": Fraction("2.5"), "c": Fraction("0.07"), "d": Fraction(3)}
    told = blockers.costed(
        blockers.reasons(found), lambda projects, _: sum((costs[one] for one in projects), Fraction(0))
    )
    assert [(row.kind, row.sentence.rpartition(" (")[2]) for row in told] == [
        ("gaps", "2 projects, Neon cost 3.50 USD)"),
        ("seller", "2 projects, Neon cost 3.50 USD)"),
        ("example_plan", "1 project, Neon cost 1.00 USD)"),
        ("unknown_plan", "1 project, Neon cost 3.00 USD)"),
        ("unassigned", "1 project, Neon cost 0.07 USD)"),
        ("alarm", "2 projects, Neon cost 3.50 USD)"),
        ("first_close", "2 projects, Neon cost 3.50 USD)"),
    ]
    assert all("metering" in row.way_out for row in told)
    assert told[0].details == ("org-a: 2 h from 2026-09-30T22:00:00Z to 2026-10-01T00:00:00Z (inventory)",)


def test_a_reason_given_passes_over_what_it_names_and_nothing_else():
    found = facts(seller="", gaps=[GAP], unassigned=["c"], asked=[("d", "n", "scale")], examples={"pro": ["a"]})
    assert kinds(found, Waivers(incomplete="late")) == ["seller", "example_plan", "unknown_plan", "unassigned"]
    assert kinds(found, Waivers(unassigned="ours")) == ["gaps", "seller", "example_plan"]
    assert kinds(found, Waivers(incomplete="late", unassigned="ours")) == ["seller", "example_plan"]


def test_each_plan_that_does_not_exist_is_a_reason_of_its_own_and_ten_projects_are_named():
    asked = [(f"p{number:02d}", f"n{number:02d}", "scale") for number in range(12)] + [("q", "n", "tiny")]
    scale, tiny = blockers.reasons(facts(asked=asked))
    assert scale.what == "names ask for the plan scale, which does not exist"
    assert (len(scale.projects), scale.details[0], scale.details[9:]) == (12, "p00: n00", ("p09: n09", "and 2 more"))
    assert tiny.details == ("q: n",)


def test_a_cost_that_is_not_known_is_not_nothing():
    (reason,) = blockers.costed(blockers.reasons(facts(unassigned=["c"])), lambda _projects, _nobody: None)
    assert reason.sentence == "usage of projects that nobody pays for (1 project, Neon cost unknown)"
    assert reason.document()["neon_cost"] is None


def test_whether_a_plan_is_an_example_is_no_part_of_the_rate_card():
    ours, shipped = plan("pro", price(unit_price="1")), plan("pro", price(unit_price="1"), example=True)
    cards = [Card(plans=(one,), meters=BUILT_IN) for one in (ours, shipped)]
    assert canonical(cards[0]) == canonical(cards[1])
