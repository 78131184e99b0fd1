import os
from fractions import Fraction
from pathlib import Path

import pytest

from tests.simulate_documents import DAYS, simulate_documents
from tests.support.oracle_month import Facts, Stay, bills

DAY, MONTH = 86400, 30 * 86400
PER_HOUR = {"model": "per_unit", "unit_price": "1.00"}


@pytest.mark.parametrize("seed", [16, pytest.param(20, marks=pytest.mark.slow)])
def test_whatever_goes_wrong_in_a_month_its_documents_are_those_of_a_calm_one_and_none_changes(
    seed: int, tmp_path: Path
):
    outcome = simulate_documents(seed, tmp_path, steps=DAYS, projects=9)
    assert outcome.wrong == []
    assert [
        what for what in ("partial", "refused", "renames", "adjustments", "own projects") if not outcome.counts[what]
    ] == []


@pytest.mark.slow
def test_the_documents_of_many_long_months_are_right_to_the_cent_and_none_changes(tmp_path: Path):
    seeds = int(os.environ.get("METERING_SEEDS", "10"))
    outcomes = [simulate_documents(seed, tmp_path / f"{seed}") for seed in range(1, seeds + 1)]
    assert [str(outcome) for outcome in outcomes if not outcome.is_right] == []
    print(f"{len(outcomes)} of {seeds} simulated months end with documents that are right to the cent and stay so")


# -- the oracle itself, by hand


def stay(customer: str, start: int, end: int, plan: str = "pro") -> Stay:
    return Stay(customer=customer, plan=plan, start=start * DAY, end=end * DAY)


def owed(price: dict | None, *stays: Stay, hours: int = 0, taxes: dict | None = None, **terms: str) -> dict:
    """Customer -> tax rate -> (sum of lines, tax) of one project that used so many CU-hours at noon of every day."""
    prices = {"compute": [(-1, price)]} if price else {}
    used = {("p", at * DAY + DAY // 2, at * DAY + DAY // 2 + 3600): {"compute": Fraction(hours)} for at in range(30)}
    plans = {"pro": {**terms, "prices": prices}, "fee": {"base_fee": "30.00", "prices": {}}}
    facts = Facts(length=MONTH, plans=plans, stays={"p": list(stays)}, buckets=used, taxes=taxes or {})
    found = bills(facts)
    return {
        customer: {tax[0]: (float(base), float(own)) for tax, (base, own) in bill.by_tax.items()}
        for customer, bill in found.items()
    }


def test_the_oracle_counts_a_bound_once_a_month_and_a_minimum_by_time():
    away_and_back = (stay("A", 0, 10), stay("B", 10, 20), stay("A", 20, 30))
    assert owed({**PER_HOUR, "maximum": "8"}, *away_and_back, hours=1)["A"] == {None: (8.0, 0.0)}
    least = owed({**PER_HOUR, "minimum": "5"}, *away_and_back)
    assert least == {"A": {None: (3.33, 0.0)}, "B": {None: (1.67, 0.0)}}


def test_the_oracle_charges_fees_and_minimums_by_time():
    last_second = Stay(customer="A", plan="pro", start=MONTH - 1, end=MONTH)
    most = Stay(customer="A", plan="fee", start=0, end=MONTH - 1)
    assert owed({**PER_HOUR, "minimum": "7.00"}, most, last_second, minimum="93.00") == {"A": {None: (30.0, 0.0)}}


def test_the_oracle_taxes_each_side_of_a_change_at_its_rate():
    taxes = {"A": [(-1, ("19", "VAT", None)), (15 * DAY, ("16", "VAT", None))]}
    both = owed(PER_HOUR, stay("A", 0, 30), hours=2, taxes=taxes, base_fee="10.00")
    # 15 days of 2 hours and half of the fee on each side
    assert both == {"A": {"19": (35.0, 6.65), "16": (35.0, 5.6)}}
    # 0.03 of the minimum are lacking; the third cent goes where most is: both sides have the same, so to the first
    lacking = owed(PER_HOUR, stay("A", 0, 30), hours=2, taxes=taxes, minimum="60.03")
    assert lacking == {"A": {"19": (30.02, 5.7), "16": (30.01, 4.8)}}


def test_the_oracle_has_usage_that_nobody_pays_for():
    used = {("p", 3600 * at, 3600 * (at + 1)): {"compute": Fraction(1)} for at in (1, 5)}
    gap = [Stay(customer="A", plan="pro", start=0, end=7200), Stay(customer="A", plan="pro", start=20000, end=MONTH)]
    facts = Facts(length=MONTH, plans={"pro": {"prices": {}}}, stays={"p": gap}, buckets=used)
    # the second hour begins at 18,000, and at 20,000 a stay begins inside it
    assert facts.unassigned() == set()
    gap[1] = Stay(customer="A", plan="pro", start=21600, end=MONTH)
    assert Facts(length=MONTH, plans=facts.plans, stays={"p": gap}, buckets=used).unassigned() == {"p"}
