"""Project names with plans that do not exist, and plans that are still the examples of `init`."""

from pathlib import Path

import pytest

from metering.billing import terms
from metering.billing.month import Month
from metering.billing.recorded import Recorded
from metering.config.models import CustomersConfig
from metering.invoicing import readiness
from tests.support.card import PATTERN, plan, price, subscription
from tests.support.pages_of import books, moment, month

PRO = plan("pro", price(unit_price="1"))
HOUR = 3600


def asked(directory: Path, seen: list[tuple[str, str]], *, name: str = "2026-09", mapped: bool = False) -> list[str]:
    """The names of project a with a plan that does not exist; `shown`: (time, name) as inventory showed them."""
    rows = (subscription("a", "one", "pro"),) if mapped else ()
    with books(directory, "2026-08-01", plans=(PRO,), subscriptions=rows) as desk:
        for at, shown in seen:
            desk.now = moment(at)
            desk.see({"id": "a", "name": shown, "created_at": "2026-01-01T00:00:00Z"})
        config = desk.config.model_copy(update={"customers": CustomersConfig(project_name_pattern=PATTERN)})
        found = Month(
            recorded=Recorded(store=desk.ledger.store),
            terms=terms.of(config),
            period=month(name),
            now=moment("2026-12-01"),
        )
        assert all((project, asks) == ("a", "scale") for project, _, asks in readiness.asked_plans(found))
        return [shown for _, shown, _ in readiness.asked_plans(found)]


SCALE, SOUND = "x-one-scale-1", "x-one-pro-1"


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([("2026-09-10", SCALE)], [SCALE]),
        ([("2026-10-02", SCALE)], [SCALE]),  # the first name counts backwards too
        ([("2026-09-10", SOUND), ("2026-10-01T00", SCALE)], []),
        ([("2026-09-10", SOUND), ("2026-09-30T23", SCALE)], [SCALE]),
        ([("2026-08-10", SCALE), ("2026-09-01T00", SOUND)], []),
        ([("2026-08-10", SCALE), ("2026-09-01T01", SOUND)], [SCALE]),
        ([("2026-08-10", "our own")], []),
    ],
)
def test_a_name_asks_for_a_plan_in_the_months_in_which_it_counted(tmp_path: Path, seen, expected: list[str]):
    assert asked(tmp_path, seen) == expected


def test_a_project_that_is_mapped_asks_for_nothing_by_its_name(tmp_path: Path):
    assert asked(tmp_path, [("2026-09-10", SCALE)], mapped=True) == []


def test_a_plan_is_an_example_in_the_months_in_which_a_project_was_on_it(tmp_path: Path):
    shipped = PRO.model_copy(update={"example": True})
    rows = (subscription("a", "one", "pro", valid_to=moment("2026-09-01")),)
    with books(tmp_path, "2026-10-03", plans=(shipped,), subscriptions=rows) as desk:
        desk.see({"id": "a", "name": "a", "created_at": "2026-01-01T00:00:00Z"})
        desk.read("2026-08", "2026-09")
        kinds = {name: [reason.kind for reason in desk.rehearse(name).blocked_by] for name in ("2026-08", "2026-09")}
        assert kinds == {"2026-08": ["example_plan"], "2026-09": []}
