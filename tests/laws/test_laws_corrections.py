"""The law of corrections: the invoices that stand add up to what all facts together cost, whatever happens in any
order: usage that comes late, closes, parkings, releases, voids, late mappings and supplements."""

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Collection
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.core.money import parse_amount, round_amount
from metering.core.parties import Customer, Subscription
from metering.invoicing.blockers import Waivers
from tests.support.card import plan, price, subscription
from tests.support.pages_of import Books, books, moment, month, stands

MONTHS = ("2026-05", "2026-06", "2026-07", "2026-08")
LAST = "2026-09"
CUSTOMER = {"a": "one", "b": "two", "c": "two", "d": "three"}
LATE = ("c", "d")
"""Projects that somebody maps late, or at the end."""
TIERS = [{"up_to": "100", "unit_price": "0.13", "flat_fee": "0.40"}, {"unit_price": "0.07", "flat_fee": "1.10"}]
VOLUME = {"model": "volume", "tiers": TIERS, "flat_fee_at_zero": True, "minimum": "0.45", "maximum": "16.00"}
PLAN = plan("pro", price(included="3", **VOLUME), base_fee="0.50")
POOLED = plan("pro", price(included="3", scope="customer", **VOLUME), base_fee="0.50")
WITH_TAX = tuple(
    Customer(id=name, name=name, tax_rate_percent="21", tax_inclusive=True) for name in ("one", "two", "three")
)

late = st.tuples(
    st.just("use"),
    st.sampled_from(sorted(CUSTOMER)),
    st.integers(0, len(MONTHS) - 1),
    st.sampled_from(["02T05", "27T23"]),
    st.integers(0, 900_000),
)
step = st.one_of(
    late,
    late,
    st.tuples(st.just("void"), st.integers(0, 50)),
    st.tuples(st.just("close again"), st.integers(0, len(MONTHS) - 1), st.booleans()),
    st.tuples(st.just("map"), st.sampled_from(LATE)),
    st.tuples(st.just("supplement"), st.integers(0, len(MONTHS) - 1)),
)
story = st.lists(st.lists(step, max_size=4), min_size=len(MONTHS), max_size=len(MONTHS))

TIMES = int(os.environ.get("METERING_EXAMPLES_TIMES", "1"))

OURS = Waivers(unassigned="z is ours")


def costs(seconds: int) -> int:
    """Cents of a project's month by hand: three hours free, then 0.13 each and 0.40, or 0.07 and 1.10 beyond 100.

    At least 0.45 and at most 16.00; without usage beyond the free hours the 0.40 are due as well.
    """
    hours = max(Fraction(seconds, 3600) - 3, Fraction(0))
    unit, fee = (Fraction(13, 100), 40) if hours <= 100 else (Fraction(7, 100), 110)
    return min(max(round_amount(hours * unit, "USD") + fee, 45), 1600)


def truth(desk: Books, *, is_pooled: bool) -> dict[tuple[str, str], int]:
    """(customer, month) -> cents of usage, flat fees and bounds, from what was written down."""
    pools = {(CUSTOMER[project], CUSTOMER[project] if is_pooled else project) for project in CUSTOMER}
    seconds = {(*pool, name): 0 for pool in pools for name in (*MONTHS, LAST)}
    for (project, hour), metrics in desk.used.items():
        if project in CUSTOMER:
            pool = CUSTOMER[project] if is_pooled else project
            seconds[CUSTOMER[project], pool, hour[:7]] += metrics["compute_unit_seconds"]
    out: defaultdict[tuple[str, str], int] = defaultdict(int)
    for (customer, _, name), value in seconds.items():
        out[customer, name] += costs(value)
    return dict(out)


def billed(desk: Books) -> dict[tuple[str, str], int]:
    """The same from the lines of the invoices that stand, each in the month that it is for."""
    out: defaultdict[tuple[str, str], int] = defaultdict(int)
    for name in (*MONTHS, LAST):
        for invoice in filter(stands, desk.shown(name)["invoices"]):
            assert invoice["status"] == "final"
            assert parse_amount(invoice["total"], "USD") == sum(
                parse_amount(line["amount"], "USD") for line in lines_of(invoice)
            )
            for line in invoice["lines"]:
                if line["kind"] != "base_fee":
                    out[invoice["customer"]["id"], line["from"][:7]] += parse_amount(line["amount"], "USD")
    return {key: cents for key, cents in out.items() if cents}


def lines_of(invoice: dict) -> list[dict]:
    """The lines, of which each customer's is the sum of its projects' parts."""
    for line in invoice["lines"]:
        parts = line.get("projects", [line])
        assert sum(Fraction(part["quantity"]) for part in parts) == Fraction(line["quantity"])
        assert sum(Fraction(part["amount"]) for part in parts) == Fraction(line["amount"])
    return invoice["lines"]


def do(desk: Books, what: tuple, closed: list[str]) -> None:
    """One step of a story; months that are not closed yet cannot be closed again."""
    if what[0] == "use":
        desk.use(what[1], f"{MONTHS[what[2]]}-{what[3]}", compute_unit_seconds=what[4])
        if what[2] < len(closed):
            desk.read(*closed)
    elif what[0] == "void":
        found = [row for name in closed for row in desk.shown(name)["invoices"] if row["number"] and stands(row)]
        if found:
            desk.void(found[what[1] % len(found)]["number"])
    elif what[0] == "map":
        desk.subscriptions = mapped({row.project_id for row in desk.subscriptions} | {what[1]})
    elif what[1] >= len(closed):
        return
    elif what[0] == "supplement":
        desk.supplement(closed[what[1]])
    else:
        close(desk, closed[what[1]], is_released=what[2])


def mapped(projects: Collection[str]) -> tuple[Subscription, ...]:
    return tuple(subscription(project, CUSTOMER[project], "pro") for project in sorted(projects))


def close(desk: Books, name: str, *, is_released: bool) -> None:
    done = desk.close(name, waivers=OURS)
    if is_released and done.parked:
        desk.close(name, release=dict.fromkeys(done.parked, "looked at"), waivers=OURS)


@settings(max_examples=2 * TIMES - 1, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chapters=story, is_pooled=st.booleans(), is_inclusive=st.booleans())
def test_the_invoices_that_stand_add_up_to_what_all_facts_cost(chapters, is_pooled, is_inclusive):
    plans, customers = ((POOLED if is_pooled else PLAN),), WITH_TAX if is_inclusive else ()
    rows = mapped(CUSTOMER.keys() - set(LATE))
    with (
        tempfile.TemporaryDirectory() as directory,
        books(Path(directory), "2026-05-01", plans=plans, subscriptions=rows, customers=customers) as desk,
    ):
        desk.see(*({"id": name, "name": name, "created_at": "2026-01-01T00:00:00Z"} for name in (*CUSTOMER, "z")))
        closed: list[str] = []
        for name, chapter in zip(MONTHS, chapters, strict=True):
            desk.use("z", f"{name}-09T00", compute_unit_seconds=1)
            desk.now = month(name).end + timedelta(days=3)
            for what in chapter:
                do(desk, what, closed)
            closed.append(name)
            desk.read(*closed)
            desk.close(name, waivers=OURS)
        desk.now = moment("2026-10-03")
        desk.use("z", f"{LAST}-09T00", compute_unit_seconds=1)
        desk.read(*MONTHS, LAST)
        desk.subscriptions = mapped(CUSTOMER)
        for name in (*MONTHS, LAST):
            close(desk, name, is_released=True)
            desk.supplement(name)

        assert billed(desk) == truth(desk, is_pooled=is_pooled)
        assert desk.faults() == []
        again = json.dumps([desk.shown(name) for name in (*MONTHS, LAST)])
        before = desk.ledger.journal.seq
        for name in (*MONTHS, LAST):
            desk.close(name, waivers=OURS)
            desk.supplement(name)
        assert (desk.ledger.journal.seq, json.dumps([desk.shown(name) for name in (*MONTHS, LAST)])) == (before, again)
